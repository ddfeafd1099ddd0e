"""Whose an image is, and who is held out: no patient is both trained on and measured."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from training import dicom
from training.config import ConfigError, Data
from training.images import is_picture

_PATIENT_FOLDER = re.compile(r"(?:patient|p)[-_]?\d{3,}", re.IGNORECASE)  # CheXpert, MIMIC-CXR
_PATIENT_PATTERNS = (  # Kermany (both prefixes and both splits share the number), NIH ChestX-ray14
    (re.compile(r"person(\d+)_"), "kermany-P{}"),
    (re.compile(r"IM-(\d+)-"), "kermany-N{}"),
    (re.compile(r"^(\d{8})_\d{3}"), "nih-{}"),
)


@dataclass(frozen=True)
class Split:
    """Files to train on and files of other patients to validate with."""

    training: list[Path]
    validation: list[Path]
    how: str  # it was made, for people


def patient_of(path: Path, root: Path) -> str:
    """The patient that the DICOM header, the file name or a folder below the root tells, else the file name itself."""
    if not is_picture(path):
        return dicom.patient_of(path)
    for pattern, form in _PATIENT_PATTERNS:
        if match := pattern.search(path.name):
            return form.format(match[1])
    folders = [part for part in path.relative_to(root).parts[:-1] if _PATIENT_FOLDER.fullmatch(part)]
    return f"folder-{folders[-1]}" if folders else path.stem


def is_validation(patient: str, percent: int) -> bool:
    """Whether a patient is held out.

    Depends on the id alone, so that no run ever trains on another run's validation.
    """
    return int.from_bytes(_digest(patient)[:8]) % 100 < percent


def held_out(paths: Iterable[Path], root: Path, percent: int) -> list[Path]:
    """The files of patients that no run with this `data.validation_percent` has trained on; 0 takes all.

    Raises ConfigError.
    """
    chosen = [path for path in paths if not percent or is_validation(patient_of(path, root), percent)]
    if not chosen:
        raise ConfigError(f"--held-out {percent}: no image below {root} belongs to a held-out patient")
    return chosen


def _digest(patient: str) -> bytes:
    return hashlib.sha256(os.fsencode(patient)).digest()


def split(paths: Iterable[Path], data: Data) -> Split:
    """Training and validation files; no patient is in both. Raises ConfigError if either is empty."""
    paths = list(paths)
    patients = {path: patient_of(path, data.root) for path in paths}
    by_folder = data.split == "folders" or (data.split == "auto" and _has_parts(paths, data.root))
    if by_folder:
        divided = _by_folder(paths, patients, data.root)
        divided = replace(divided, training=_few(divided.training, patients, data.patients))
    else:
        divided = _by_patient(_few(paths, patients, data.patients), patients, data)
    for name, part in (("training", divided.training), ("validation", divided.validation)):
        if not part:
            advice = (
                "put images into train/ and val/, or set data.split=patients"
                if by_folder
                else f"add images, or change data.validation_percent = {data.validation_percent}"
            )
            raise ConfigError(
                f"data.root = {data.root}: no patient is left for {name} among {len(paths)} images of "
                f"{len(set(patients.values()))} patients; {advice}"
            )
    return divided


def _few(paths: list[Path], patients: dict[Path, str], most: int) -> list[Path]:
    """The images of at most so many patients, always the same ones; 0 leaves all."""
    known = sorted({patients[path] for path in paths}, key=lambda patient: _digest(patient)[8:])
    kept = set(known[: most or None])
    return [path for path in paths if patients[path] in kept]


def _has_parts(paths: list[Path], root: Path) -> bool:
    """Whether the publisher's parts lie in this folder. Raises ConfigError if they lie deeper."""
    for path in paths:
        folders = [part.lower() for part in path.relative_to(root).parts[:-1]]
        if "train" in folders and "train" not in folders[:1]:
            inner = path.parents[len(folders) - folders.index("train")]
            raise ConfigError(
                f"data.root = {root}: its parts train/, val/, test/ lie in {inner}; set data.root={inner}, or "
                "data.split=patients to mix them"
            )
        if folders[:1] == ["train"]:
            return True
    return False


def _by_patient(paths: list[Path], patients: dict[Path, str], data: Data) -> Split:
    held_out = {path for path in paths if is_validation(patients[path], data.validation_percent)}
    return Split(
        [path for path in paths if path not in held_out],
        [path for path in paths if path in held_out],
        f"split by patient, {data.validation_percent} % held out",
    )


def _by_folder(paths: list[Path], patients: dict[Path, str], root: Path) -> Split:
    """The parts that the publisher made (Kermany: train, val, test); test is left alone, and so are its patients."""
    parts: dict[str, list[Path]] = {}
    for path in paths:
        parts.setdefault(path.relative_to(root).parts[0].lower(), []).append(path)
    elsewhere = {patients[path] for part in ("val", "test") for path in parts.get(part, [])}
    training = [path for path in parts.get("train", []) if patients[path] not in elsewhere]
    dropped = len(parts.get("train", [])) - len(training)
    how = "split by the folders train/ and val/"
    if dropped:
        how += f"; {dropped} images of train/ are left out: val/ or test/ hold images of the same patients"
    return Split(training, parts.get("val", []), how)
