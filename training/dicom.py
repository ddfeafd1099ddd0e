"""DICOM files to train on: which they are, whose, and their gray values. Nothing else in training knows DICOM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from dicom_sr_node.dicom import damage, header
from dicom_sr_node.pixels.decode import decode

PREAMBLE = 128  # bytes before "DICM"


def is_dicom(path: Path) -> bool:
    """Whether the name or the preamble says so; files on DICOM media have no suffix, or a UID for a name."""
    if path.suffix.lower() == ".dcm":
        return True
    try:
        with path.open("rb") as file:
            return file.read(PREAMBLE + 4)[PREAMBLE:] == b"DICM"
    except OSError:
        return False  # not for us to read


def patient_of(path: Path) -> str:
    """The patient that the header names, else the file's name."""
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["PatientID"])
        return f"dicom-{header.PatientID or path.name}"
    except Exception:  # damaged headers raise many kinds; reading the image will say what is wrong
        return path.name


def read(path: Path) -> tuple[NDArray[Any], int]:
    """(H, W) stored values in which more is brighter, and the highest they could hold.

    Decoded as the node does it. Raises NodeError for damaged files, ValueError for what is no single gray image.
    """
    dataset = header.read(path)
    with damage.usable():
        gray = header.first(dataset, "PhotometricInterpretation").strip() in ("MONOCHROME1", "MONOCHROME2")
        if not gray or header.number(dataset, "NumberOfFrames", 1) > 1:
            raise ValueError("not a single gray image of at most 16 bits")
        frame = decode(dataset)
    lowest, highest = frame.value_range
    peak = highest - lowest
    values = frame.values.astype(np.int32) - lowest
    if frame.inverted:
        values = peak - values
    return values.astype(np.uint8 if peak < 256 else np.uint16), peak
