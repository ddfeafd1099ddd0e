"""Radiographs for training: found, split by patient, held in memory, cut into batches.

A batch is a pure function of (seed, step), so a resumed run sees exactly what the uninterrupted one would have seen.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from model.intensity import Window
from training.config import ConfigError, Data

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
Pixels = NDArray[np.uint8]

_PATIENT_PATTERNS = (  # Kermany (both prefixes and both splits share the number), NIH ChestX-ray14
    (re.compile(r"person(\d+)_"), "kermany-P{}"),
    (re.compile(r"IM-(\d+)-"), "kermany-N{}"),
    (re.compile(r"^(\d{8})_\d{3}"), "nih-{}"),
)


@dataclass(frozen=True)
class Radiograph:
    """One image in memory, 8-bit stored values."""

    path: Path
    patient: str
    pixels: Pixels  # (H, W) at native resolution
    whole: Pixels  # (whole_size, whole_size): all of it, as in the seed's protocol
    window: Window


@dataclass(frozen=True)
class Batch:
    """Stored values as floats, with the affine map to [-1, 1] of each sample.

    `unit = (stored - centre) / half_width`.
    """

    high: Tensor  # (N, 1, crop, crop)
    centre: Tensor  # (N, 1, 1, 1)
    half_width: Tensor  # (N, 1, 1, 1)


def find_images(root: Path) -> list[Path]:
    """All images below a folder, sorted. Raises ConfigError."""
    if not root.is_dir():
        raise ConfigError(
            f"data.root = {root}: there is no such folder; give the folder of the images with --set data.root=PATH"
        )
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ConfigError(f"data.root = {root}: no image ({', '.join(SUFFIXES)}) below this folder")
    return paths


def patient_of(path: Path) -> str:
    """The patient that a file name tells, else the name itself."""
    for pattern, form in _PATIENT_PATTERNS:
        if match := pattern.search(path.name):
            return form.format(match[1])
    return path.stem


def is_validation(patient: str, percent: int) -> bool:
    """Whether a patient is held out.

    Depends on the id alone, so that no run ever trains on another run's validation.
    """
    return int.from_bytes(hashlib.sha256(patient.encode()).digest()[:8]) % 100 < percent


def split(paths: Iterable[Path], data: Data) -> tuple[list[Path], list[Path]]:
    """(training, validation) files; no patient is in both. Raises ConfigError if either is empty."""
    paths = list(paths)
    if data.patients:
        known = sorted({patient_of(path) for path in paths}, key=lambda p: hashlib.sha256(p.encode()).digest()[8:])
        kept = set(known[: data.patients])
        paths = [path for path in paths if patient_of(path) in kept]
    held_out = [path for path in paths if is_validation(patient_of(path), data.validation_percent)]
    training = [path for path in paths if not is_validation(patient_of(path), data.validation_percent)]
    for name, part in (("training", training), ("validation", held_out)):
        if not part:
            raise ConfigError(
                f"data.root = {data.root}: no patient is left for {name} among {len(paths)} images; add images"
            )
    return training, held_out


def read_gray(path: Path) -> Pixels:
    """An image as (H, W) 8-bit gray. Raises OSError for a file that is no image."""
    with Image.open(path) as image:
        if image.mode.startswith("I;16"):
            return (np.asarray(image) >> 8).astype(np.uint8)
        return np.asarray(image.convert("L"))


def shrink(pixels: Pixels, size: int) -> Pixels:
    """The whole image as a square, by antialiased bicubic: (H, W) -> (size, size)."""
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC))


def load(paths: Sequence[Path], data: Data) -> tuple[list[Radiograph], list[str]]:
    """Read images into memory; returns them with one line for each file that was skipped, and why."""

    def one(path: Path) -> Radiograph | str:
        try:
            pixels = read_gray(path)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            return f"{path}: skipped, {error}"
        if min(pixels.shape) < data.crop:
            return f"{path}: skipped, {pixels.shape[1]}x{pixels.shape[0]} is smaller than data.crop = {data.crop}"
        return Radiograph(path, patient_of(path), pixels, shrink(pixels, data.whole_size), Window.of(pixels))

    with ThreadPoolExecutor() as pool:
        results = list(pool.map(one, paths))
    images = [result for result in results if isinstance(result, Radiograph)]
    if not images:
        raise ConfigError(f"data.root = {data.root}: none of {len(paths)} images can be used; the first: {results[0]}")
    return images, [result for result in results if isinstance(result, str)]


class Batches:
    """Random crops: half of whole images at the seed's size, half at native resolution (or another `whole_share`)."""

    def __init__(self, images: Sequence[Radiograph], data: Data, *, batch: int, seed: int) -> None:
        self._images, self._data, self._batch, self._seed = images, data, batch, seed
        areas = np.array([image.pixels.size for image in images], dtype=np.float64)
        self._native_share = areas / areas.sum()  # each native pixel is equally likely

    def at(self, step: int) -> Batch:
        """The batch of a step."""
        random = np.random.default_rng((self._seed, step))
        drawn = [self._draw(random) for _ in range(self._batch)]
        high = torch.from_numpy(np.stack([crop for crop, _ in drawn])).unsqueeze(1).float()
        centre = torch.tensor([(w.bright + w.dark) / 2 for _, w in drawn]).view(-1, 1, 1, 1)
        half_width = torch.tensor([w.half_width for _, w in drawn]).view(-1, 1, 1, 1)
        return Batch(high, centre, half_width)

    def _draw(self, random: np.random.Generator) -> tuple[Pixels, Window]:
        whole = random.random() < self._data.whole_share
        image = self._images[random.choice(len(self._images), p=None if whole else self._native_share)]
        pixels, size = image.whole if whole else image.pixels, self._data.crop
        top, left = (int(random.integers(length - size + 1)) for length in pixels.shape)
        crop = pixels[top : top + size, left : left + size]
        return (crop[:, ::-1] if random.random() < 0.5 else crop).copy(), image.window
