"""A header within reason: so many elements, so deep, so long. Far beyond any radiograph's, far below what costs."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom import DataElement, Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

from dicom_sr_node.dicom.damage import DAMAGE
from dicom_sr_node.dicom.header import OVERLAY_GROUPS, vr_of
from dicom_sr_node.domain.errors import Unreadable

MOST_ELEMENTS = 20_000  # in all, items and theirs among them
DEEPEST = 16  # sequences within sequences
LONGEST = 1 << 20  # bytes of one element; pixels have bounds of their own
LONGEST_OVERLAY = 16 << 20  # bytes of one element of an overlay plane: one bit for each pixel
MOST_VALUES = 10_000  # of one text element
_PIXELS = 0x7FE0


def check(ds: Dataset) -> None:
    """Raises Unreadable, saying which bound is passed."""
    for count, _ in enumerate(_walk(ds, 0)):
        if count > MOST_ELEMENTS:
            raise Unreadable(f"the header is beyond reason: more than {MOST_ELEMENTS} elements")


def _walk(ds: Dataset, depth: int) -> Iterator[BaseTag]:
    """Every element and item; private ones of a stated length are not looked into, for they are never copied."""
    if depth > DEEPEST:
        raise Unreadable(f"the header is beyond reason: sequences {depth} deep")
    for tag in ds.keys():  # noqa: SIM118 - iterating a Dataset decodes its elements
        yield tag
        element = ds.get_item(tag)
        if element is None or (tag.group == _PIXELS and depth == 0):
            continue
        if isinstance(element, RawDataElement):
            if tag.is_private:
                continue
            _check_value(tag, element.value)
            if vr_of(element) != "SQ":
                continue
            element = _parsed(ds, tag)
        if element is not None and element.VR == "SQ":
            for item in element.value or ():
                yield tag
                yield from _walk(item, depth + 1)


def _parsed(ds: Dataset, tag: BaseTag) -> DataElement | None:
    """The sequence; None if it is none, for then it is not copied either."""
    try:
        return ds[tag]
    except (*DAMAGE, OSError):
        return None


def _check_value(tag: BaseTag, value: object) -> None:
    longest = LONGEST_OVERLAY if tag.group in OVERLAY_GROUPS else LONGEST
    if isinstance(value, bytes) and len(value) > longest:
        raise Unreadable(f"the header is beyond reason: {tag} has {len(value)} bytes")
    if isinstance(value, bytes) and len(value) <= LONGEST and value.count(b"\\") > MOST_VALUES:
        raise Unreadable(f"the header is beyond reason: {tag} has more than {MOST_VALUES} values")
