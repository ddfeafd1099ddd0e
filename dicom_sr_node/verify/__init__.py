"""`srnode verify`: a derived image held against its source.

Each check is one promise: PASS or FAIL, with what was found.
"""

from __future__ import annotations

from pathlib import Path

from dicom_sr_node.pixels import header
from dicom_sr_node.verify.attributes import attribute_checks
from dicom_sr_node.verify.check import Check, maker_of
from dicom_sr_node.verify.pixels import pixel_checks

__all__ = ["Check", "verify"]


def verify(derived_path: Path, source_path: Path) -> list[Check]:
    """All checks, in the order of the report. Raises Unreadable and OSError for files that are no DICOM."""
    derived, source = header.read(derived_path), header.read(source_path)
    maker = maker_of(derived)
    if maker is None:
        return [
            Check("provenance", False, "its Derivation Description names no weights of this software: not made by it")
        ]
    with header.usable():
        return [*pixel_checks(derived, source, maker), *attribute_checks(derived, source, maker)]
