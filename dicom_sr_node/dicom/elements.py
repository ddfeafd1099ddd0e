"""Elements as they were read: text as its bytes, so that no character set is ever converted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import DataElement, Dataset
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag

from dicom_sr_node.dicom.damage import DAMAGE
from dicom_sr_node.dicom.header import vr_of

_TEXT = frozenset(
    ["AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"]
)


def verbatim(source: Dataset, key: BaseTag | str) -> DataElement | RawDataElement | None:
    """An element as it was read: text as its bytes, in the items of sequences too, everything else decoded.

    None if it cannot be read. What is returned can be written in Explicit VR Little Endian.
    """
    tag = Tag(key)
    element = source.get_item(tag)
    try:
        if isinstance(element, RawDataElement):
            vr = vr_of(element)
            if vr in _TEXT:
                return element._replace(VR=vr)
            element = source[tag]
        if element is not None and element.VR == "SQ":
            return DataElement(tag, "SQ", Sequence([_item(item) for item in element.value or ()]))
    except (*DAMAGE, OSError):  # pydicom has an OSError of its own: "No tag to read"
        return None
    return element


def _item(source: Dataset) -> Dataset:
    """One item of a sequence, whatever its encoding was."""
    item = Dataset(parent_encoding=source.original_character_set)
    for tag in source.keys():  # noqa: SIM118 - iterating a Dataset decodes its elements
        if (element := verbatim(source, tag)) is not None:
            item[tag] = element
    item.set_original_encoding(False, True, source.original_character_set)
    return item


def pixel_data(values: NDArray[Any]) -> DataElement:
    """Native Pixel Data in little endian, padded to even length (PS3.5 8.1.2)."""
    raw = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()
    return DataElement("PixelData", "OB" if values.itemsize == 1 else "OW", raw + b"\0" * (len(raw) % 2))


def text_of(source: Dataset, keyword: str) -> str:
    """The text of an element with its backslashes, one character for each byte; empty if there is none."""
    element = verbatim(source, keyword) if keyword in source else None
    value = None if element is None else element.value
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("latin-1").strip(" \0")
    return "\\".join(map(str, value)) if isinstance(value, MultiValue | list) else str(value)
