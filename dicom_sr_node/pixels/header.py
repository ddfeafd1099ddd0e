"""Reading a data set without its pixels, and its UIDs without trusting them."""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError

from dicom_sr_node.errors import Unreadable
from dicom_sr_node.records import Identity

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


def check_uid(value: object, what: str) -> str:
    """A UID as PS3.5 9.1 has it: digits and dots, at most 64 characters. Raises Unreadable."""
    text = str(value or "")
    if len(text) > 64 or not _UID.fullmatch(text):
        raise Unreadable(f"{what} is not a UID of digits and dots with at most 64 characters")
    return text


def identity_of(ds: Dataset) -> Identity:
    """Who an instance is. Raises Unreadable."""
    with usable():
        return Identity(
            sop_class_uid=check_uid(ds.get("SOPClassUID"), "SOP Class UID"),
            sop_instance_uid=check_uid(ds.get("SOPInstanceUID"), "SOP Instance UID"),
            study_uid=check_uid(ds.get("StudyInstanceUID"), "Study Instance UID"),
            series_uid=check_uid(ds.get("SeriesInstanceUID"), "Series Instance UID"),
            modality=str(ds.get("Modality") or "")[:16],
        )


_PIXEL_DATA = 0x7FE00010
IDENTITY_TAGS = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality"]


# What pydicom was seen to raise for damaged files; struct.error is what a cut number gives, RecursionError deep
# nesting.
_DAMAGE = (
    InvalidDicomError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    NotImplementedError,
    EOFError,
)
DAMAGE = (*_DAMAGE, struct.error, RecursionError, BytesLengthException)


def read(path: Path, *, pixels: bool = True, only: list[str] | None = None) -> FileDataset:
    """A DICOM file in memory, with or without its pixels.

    Raises Unreadable, and OSError where the file cannot be opened.
    """
    with path.open("rb") as stream:
        try:
            ds = dcmread(stream, stop_before_pixels=not pixels, specific_tags=only)
        except (*DAMAGE, OSError) as error:  # pydicom has an OSError of its own: "No tag to read"
            raise Unreadable(f"not a readable DICOM file: {type(error).__name__}: {error}") from error
    if "TransferSyntaxUID" not in ds.file_meta:
        raise Unreadable("not a readable DICOM file: no Transfer Syntax UID in its file meta information")
    if not ds.file_meta.TransferSyntaxUID.is_little_endian:
        _swap_words(ds)
    return ds


def _swap_words(ds: FileDataset) -> None:
    """Turn the OW values of a big-endian file to little endian: pydicom leaves them, except pixel data."""
    with usable():
        for element in ds.iterall():
            if element.VR == "OW" and element.tag != _PIXEL_DATA and isinstance(element.value, bytes):
                element.value = np.frombuffer(element.value, ">u2").astype("<u2").tobytes()


@contextmanager
def usable() -> Iterator[None]:
    """Around work on a data set: an element that is missing, or of another kind than it must be, is a damaged file.

    pydicom converts elements when they are looked at, so the damage shows anywhere. Raises Unreadable.
    """
    try:
        yield
    except DAMAGE as error:
        raise Unreadable(f"the data set cannot be used: {type(error).__name__}: {error}") from error


def data_set_sha256(path: Path) -> str:
    """The hash of a data set without preamble and file meta information, which C-STORE does not carry (PS3.10 7.1)."""
    with path.open("rb") as stream:
        head = stream.read(144)
        has_meta = head[128:136] == b"DICM\x02\x00\x00\x00"
        stream.seek(144 + int.from_bytes(head[140:144], "little") if has_meta else 0)
        return hashlib.file_digest(stream, "sha256").hexdigest()
