"""Reading a data set without its pixels, and its UIDs without trusting them."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info, read_partial
from pydicom.multival import MultiValue
from pydicom.tag import Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from dicom_sr_node.dicom import software
from dicom_sr_node.dicom.damage import CANNOT_BE_USED, DAMAGE, usable, without_values
from dicom_sr_node.domain.errors import Unreadable
from dicom_sr_node.domain.records import Identity, Origin

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_DATE = re.compile(r"[0-9]{8}")


def check_uid(value: object, what: str) -> str:
    """A UID as PS3.5 9.1 has it: digits and dots, at most 64 characters. Raises Unreadable."""
    text = str(value or "")
    if len(text) > 64 or not _UID.fullmatch(text):
        raise Unreadable(f"{what} is not a UID of digits and dots with at most 64 characters")
    return text


def first(ds: Dataset, keyword: str) -> str:
    """The text of an element that has one value; of several the first, of none nothing.

    Some character sets that pydicom takes make what no file and no database can hold: that is replaced.
    """
    value = ds.get(keyword)
    if isinstance(value, MultiValue | list):
        value = value[0] if value else None
    return "" if value is None else str(value).encode("utf-8", "replace").decode("utf-8")


def number(ds: Dataset, key: str | tuple[int, int], missing: int = 0) -> int:
    """The whole number of an element, by keyword or tag; `missing` where there is none. Raises Unreadable otherwise."""
    element = ds.get(Tag(key))
    value = None if element is None else element.value
    if value is None or value == "":
        return missing
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise Unreadable(f"{CANNOT_BE_USED}: {key} is no whole number") from None


def vr_of(element: RawDataElement) -> str:
    """The VR that was read, or that of the dictionary where nothing or UN (unknown) was written."""
    if element.VR not in (None, "UN"):
        return str(element.VR)
    try:
        return str(dictionary_VR(element.tag))
    except KeyError:
        return "UN"


def identity_of(ds: Dataset) -> Identity:
    """Who an instance is. Raises Unreadable."""
    with usable():
        return Identity(
            sop_class_uid=check_uid(ds.get("SOPClassUID"), "SOP Class UID"),
            sop_instance_uid=check_uid(ds.get("SOPInstanceUID"), "SOP Instance UID"),
            study_uid=check_uid(ds.get("StudyInstanceUID"), "Study Instance UID"),
            series_uid=check_uid(ds.get("SeriesInstanceUID"), "Series Instance UID"),
            modality=_plain(first(ds, "Modality"))[:16],
            patient_id=_plain(first(ds, "PatientID"))[:64],
            patient_name=_readable_text(ds, "PatientName")[:200],
            accession=_readable_text(ds, "AccessionNumber")[:64],
            study_date=date if _DATE.fullmatch(date := _readable_text(ds, "StudyDate")) else "",
            body_part=_readable_text(ds, "BodyPartExamined")[:16],
        )


def _plain(text: str) -> str:
    return text.replace("\0", "").strip()


def _readable_text(ds: Dataset, keyword: str) -> str:
    """For people to search by: no image is refused because a text of its header cannot be read."""
    try:
        return _plain(first(ds, keyword))
    except DAMAGE:
        return ""


_PIXEL_DATA = 0x7FE00010
_IDENTITY = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality", "PatientID"]
_SEARCHED = ["SpecificCharacterSet", "PatientName", "AccessionNumber", "StudyDate", "BodyPartExamined"]
_ASKED_BY_RULES = ["StationName", "ViewPosition"]
_LAST_OF_IDENTITY = 0x0020000E  # Series Instance UID
_MOST_READ_FOR_IDENTITY = 1 << 20  # bytes; what is skipped over does not count
OVERLAY_GROUPS = range(0x6000, 0x6020, 2)  # PS3.3 C.9.2


def read(path: Path, *, pixels: bool = True) -> FileDataset:
    """A DICOM file in memory, with or without its pixels.

    Raises Unreadable, and OSError where the file cannot be opened or the disk fails.
    """
    with path.open("rb") as stream, _readable():
        ds = dcmread(stream, stop_before_pixels=not pixels)
    syntax = ds.file_meta.get("TransferSyntaxUID")
    if not isinstance(syntax, UID) or not syntax:
        raise Unreadable("not a readable DICOM file: no Transfer Syntax UID in its file meta information")
    if syntax == DeflatedExplicitVRLittleEndian:
        raise Unreadable("deflated: a small file could inflate without bound; send it in another transfer syntax")
    with usable():
        if not syntax.is_little_endian:
            _swap_words(ds)
    return ds


def read_identity(path: Path) -> tuple[Identity, str, Dataset]:
    """Who an instance is, its transfer syntax, and what rules look at, from the first elements of a file.

    The rest is not looked at. Costs no more than reading 1 MiB, whatever the file is like. Raises Unreadable, and
    OSError of the disk.
    """
    with _Measured(io.FileIO(path)) as stream, _readable():
        ds = read_partial(
            stream,
            stop_when=lambda tag, vr, length: tag > _LAST_OF_IDENTITY,
            specific_tags=[Tag(keyword) for keyword in (*_IDENTITY, *_SEARCHED, *_ASKED_BY_RULES)],
        )
    return identity_of(ds), str(ds.file_meta.get("TransferSyntaxUID") or ""), ds


def read_size(path: Path) -> Dataset:
    """Rows and Columns, where both are within what is read for an identity. Raises OSError of the disk."""
    rows, columns = Tag("Rows"), Tag("Columns")
    size = Dataset()
    try:
        with _Measured(io.FileIO(path)) as stream, _readable():
            ds = read_partial(stream, stop_when=lambda tag, vr, length: tag > columns, specific_tags=[rows, columns])
            size.Rows, size.Columns = number(ds, "Rows"), number(ds, "Columns")
    except Unreadable:
        return Dataset()
    return size


def origin(path: Path) -> Origin:
    """Who called whom when this software received a file. Raises Unreadable."""
    with _readable():
        return software.origin_of(read_file_meta_info(path))


class _Measured(io.BufferedReader):
    """A file that ends the reading of a header with too many elements."""

    def __init__(self, raw: io.FileIO) -> None:
        super().__init__(raw)
        self._left = _MOST_READ_FOR_IDENTITY

    def read(self, size: int | None = -1, /) -> bytes:
        chunk = super().read(size)
        self._left -= len(chunk)
        if self._left < 0:
            raise ValueError(f"no identity in the first {_MOST_READ_FOR_IDENTITY >> 20} MiB of elements")
        return chunk


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except InvalidDicomError as error:
        raise Unreadable("not a readable DICOM file: it has no DICM prefix") from error
    except DAMAGE as error:
        raise Unreadable(f"not a readable DICOM file: {without_values(error)}") from error
    except OSError as error:
        if error.errno is not None:  # of the disk, and not pydicom's "No tag to read"
            raise
        raise Unreadable(f"not a readable DICOM file: {without_values(error)}") from error


def _swap_words(ds: Dataset) -> None:
    """Turn the OW values of a big-endian file to little endian: pydicom leaves them, except pixel data.

    Nothing else is decoded, so that text can be copied as its bytes.
    """
    with usable():
        for tag in ds.keys():  # noqa: SIM118 - iterating a Dataset decodes its elements
            element = ds.get_item(tag)
            if element is None or element.tag == _PIXEL_DATA:
                continue
            if element.VR == "SQ":
                for item in ds[tag].value or ():
                    _swap_words(item)
            elif element.VR == "OW" and isinstance(element.value, bytes):
                ds[tag].value = np.frombuffer(element.value, ">u2").astype("<u2").tobytes()


def data_set_sha256(path: Path) -> str:
    """The hash of a data set without preamble and file meta information, which C-STORE does not carry (PS3.10 7.1)."""
    with path.open("rb") as stream:
        head = stream.read(144)
        has_meta = head[128:136] == b"DICM\x02\x00\x00\x00"
        stream.seek(144 + int.from_bytes(head[140:144], "little") if has_meta else 0)
        return hashlib.file_digest(stream, "sha256").hexdigest()
