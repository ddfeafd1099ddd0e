"""What an archive answers to STOW-RS: the Store Instances Response of PS3.18 10.5.3, in JSON or XML."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import requests
from pydicom import Dataset

from dicom_sr_node.dicom.damage import DAMAGE
from dicom_sr_node.dicom.statuses import ALREADY_STORED, error_for, is_stored, text
from dicom_sr_node.domain.errors import PeerDoubts, Unreadable

_PROCESSING_FAILURE = 0x0110
_FAILED, _STORED = "FailedSOPSequence", "ReferencedSOPSequence"
_TAGS = {
    "00081198": _FAILED,
    "00081199": _STORED,
    "00081155": "ReferencedSOPInstanceUID",
    "00081197": "FailureReason",
    "00081196": "WarningReason",
}
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class StowAnswer:
    """SOP Instance UID -> why it was not stored, and -> the warning on what was; an empty UID where none is named."""

    failed: dict[str, int]
    stored: dict[str, int]

    @classmethod
    def read(cls, answer: requests.Response) -> StowAnswer:
        """Of an answer without a body nothing is known. Raises Unreadable."""
        body = answer.content
        if len(body) > _MOST_BYTES:
            raise Unreadable("it is too long")
        try:
            ds = _data_set(body.strip())
            failed, stored = ds.get(_FAILED) or (), ds.get(_STORED) or ()
            return cls(
                {_uid(item): int(item.get("FailureReason") or _PROCESSING_FAILURE) for item in failed},
                {_uid(item): int(item.get("WarningReason") or 0) for item in stored},
            )
        except (ElementTree.ParseError, *DAMAGE) as error:
            raise Unreadable(type(error).__name__) from error

    def warning_on(self, uid: str) -> str | None:
        """The archive's warning on an object that it has stored, or nothing; None where it says nothing of it.

        Raises DeliveryError: it has not stored it.
        """
        reason = self.failed.get(uid, self.failed.get(""))
        if reason is None:
            warning = self.stored.get(uid)
            return text(warning) if warning else None if warning is None else ""
        if reason in ALREADY_STORED:
            return text(reason)
        if is_stored(reason):  # a warning, but among what it has not stored
            raise PeerDoubts(f"the archive says that it has not stored it: {text(reason)}")
        raise error_for(reason, "")


def _uid(item: Dataset) -> str:
    return str(item.get("ReferencedSOPInstanceUID") or "")


def _data_set(body: bytes) -> Dataset:
    if not body:
        return Dataset()
    if body.startswith(b"<"):
        return _of_xml(ElementTree.fromstring(body))  # noqa: S314 - expat bounds entities, and the size is bounded
    document: Any = json.loads(body)
    if isinstance(document, list):  # as some send all that is DICOM in JSON
        document = document[0] if document else {}
    return Dataset.from_json(document)


def _of_xml(element: ElementTree.Element) -> Dataset:
    """What is looked at of a Native DICOM Model (PS3.19 A.1), or of an item in it."""
    ds = Dataset()
    for child in element:
        keyword = _TAGS.get(child.get("tag", ""))
        if keyword in (_FAILED, _STORED):
            setattr(ds, keyword, [_of_xml(item) for item in child])
        elif keyword:
            value = "".join(child.itertext()).strip()
            setattr(ds, keyword, value if keyword.endswith("UID") else int(value))
    return ds
