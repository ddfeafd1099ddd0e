"""`srnode verify`: a derived image held against its source.

Each check is one promise: PASS or FAIL, with what was found.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from dicom_sr_node.dicom import damage, header
from dicom_sr_node.domain.errors import Undecodable
from dicom_sr_node.pixels.sandbox import DecoderProcess
from dicom_sr_node.verify.attributes import attribute_checks
from dicom_sr_node.verify.check import Verification, algorithm_of
from dicom_sr_node.verify.pixels import pixel_checks


@dataclass(frozen=True)
class Subject:
    """One of the two files, as a report names it."""

    file: str
    sop_instance_uid: str
    sha256: str  # of the whole file


def subject(path: Path) -> Subject:
    """Raises Unreadable and OSError."""
    uid = str(header.read(path, pixels=False).get("SOPInstanceUID") or "")
    with path.open("rb") as file:
        return Subject(str(path), uid, hashlib.file_digest(file, "sha256").hexdigest())


def verify(derived_path: Path, source_path: Path, decoder: DecoderProcess) -> list[Verification]:
    """All checks, in the order of the report. Raises Unreadable and OSError for files that are no DICOM."""
    derived, source = (header.read(path, pixels=False) for path in (derived_path, source_path))
    algorithm = algorithm_of(derived)
    if algorithm is None:
        return [
            Verification(
                "provenance", False, "its Derivation Description names no weights of this software: not made by it"
            )
        ]
    try:
        result, original = decoder.frame(derived_path), decoder.frame(source_path)
    except Undecodable as error:
        return [Verification("pixel data", False, str(error))]
    with damage.usable():
        return [
            *pixel_checks(derived, source, result, original, algorithm),
            *attribute_checks(derived, source, original, algorithm),
        ]
