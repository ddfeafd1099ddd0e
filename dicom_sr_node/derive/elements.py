"""Elements as they were read: text as its bytes, so that no character set is ever converted."""

from __future__ import annotations

from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag

from dicom_sr_node.pixels.header import DAMAGE

_TEXT = frozenset(
    ["AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"]
)


def verbatim(source: Dataset, key: BaseTag | str) -> DataElement | RawDataElement | None:
    """An element as it was read: text as its bytes, everything else decoded. None if it cannot be read."""
    tag = Tag(key)
    element = source.get_item(tag)
    if isinstance(element, RawDataElement):
        try:
            vr = element.VR or dictionary_VR(tag)
            if vr in _TEXT:
                return element._replace(VR=vr)
            return source[tag]
        except DAMAGE:
            return None
    return element


def text_of(source: Dataset, keyword: str) -> str:
    """The text of an element with its backslashes, one character for each byte; empty if there is none."""
    element = verbatim(source, keyword) if keyword in source else None
    value = None if element is None else element.value
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("latin-1").strip(" \0")
    return "\\".join(map(str, value)) if isinstance(value, MultiValue | list) else str(value)
