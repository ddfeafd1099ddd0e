"""Storage commitment on the wire (PS3.4 J.3): the data sets of a request and of a report."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import evt

from dicom_sr_node.dicom.damage import usable
from dicom_sr_node.dicom.header import check_uid
from dicom_sr_node.domain.errors import Unreadable
from dicom_sr_node.domain.records import Reference

SOP_CLASS = UID("1.2.840.10008.1.20.1")  # Storage Commitment Push Model
SOP_INSTANCE = UID("1.2.840.10008.1.20.1.1")
REQUEST = 1  # action type
ALL_COMMITTED, SOME_FAILED = 1, 2  # event types
PROCESSING_FAILURE, NO_SUCH_INSTANCE, CLASS_CONFLICT = 0x0110, 0x0112, 0x0119  # failure reasons, PS3.3 C.14.1.1
NO_SUCH_ACTION, INVALID_ARGUMENT = 0x0123, 0x0115  # statuses of N-ACTION and N-EVENT-REPORT, PS3.7 C.5
CONTEXT = (str(SOP_CLASS), str(ImplicitVRLittleEndian))  # what we propose
MOST_REFERENCES = 4000
TRANSFER_SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian]
_ITEM = b"\xfe\xff\x00\xe0"
T = TypeVar("T")
_READING = threading.Semaphore(1)  # a data set can cost a hundred times its size while it is read
_PATIENCE_S = 0.5


def decoded(event: evt.Event, read: Callable[[], T]) -> T:
    """What is read of the data set of an N-ACTION or N-EVENT-REPORT; pydicom does the work when it is looked at.

    Raises Unreadable, before too many items become objects.
    """
    request = event.request
    encoded = getattr(request, "ActionInformation", None) or getattr(request, "EventInformation", None)
    if encoded is None:
        raise Unreadable("there is no data set")
    if encoded.getvalue().count(_ITEM) > MOST_REFERENCES:
        raise Unreadable(f"more than {MOST_REFERENCES} instances")
    if not _READING.acquire(timeout=_PATIENCE_S):
        raise Unreadable("too many at the same time")
    try:
        with usable():
            return read()
    finally:
        _READING.release()


@dataclass(frozen=True)
class CommitmentAction:
    """Commit to these."""

    transaction_uid: str
    references: tuple[Reference, ...]

    @classmethod
    def read(cls, ds: Dataset) -> CommitmentAction:
        """Raises Unreadable."""
        with usable():
            items = ds.get("ReferencedSOPSequence") or ()
            if not 0 < len(items) <= MOST_REFERENCES:
                raise Unreadable(f"{len(items)} instances; 1 to {MOST_REFERENCES} are taken")
            return cls(_uid(ds, "TransactionUID"), tuple(_reference(item) for item in items))

    def data_set(self) -> Dataset:
        """Action Information."""
        ds = Dataset()
        ds.TransactionUID = self.transaction_uid
        ds.ReferencedSOPSequence = [_item(reference) for reference in self.references]
        return ds


@dataclass(frozen=True)
class CommitmentReport:
    """What was committed to, and what not: with its Failure Reason."""

    transaction_uid: str
    committed: Sequence[Reference]
    failed: Mapping[Reference, int]

    @property
    def committed_uids(self) -> list[str]:
        """The SOP Instance UIDs."""
        return [reference.sop_instance_uid for reference in self.committed]

    @property
    def failed_uids(self) -> dict[str, int]:
        """SOP Instance UID -> Failure Reason."""
        return {reference.sop_instance_uid: reason for reference, reason in self.failed.items()}

    @property
    def event_type(self) -> int:
        """For N-EVENT-REPORT."""
        return SOME_FAILED if self.failed else ALL_COMMITTED

    @classmethod
    def read(cls, ds: Dataset) -> CommitmentReport:
        """Raises Unreadable."""
        with usable():
            committed = [_reference(item) for item in ds.get("ReferencedSOPSequence") or ()]
            failed = {
                _reference(item): int(item.get("FailureReason") or PROCESSING_FAILURE)
                for item in ds.get("FailedSOPSequence") or ()
            }
            return cls(_uid(ds, "TransactionUID"), committed, failed)

    def data_set(self) -> Dataset:
        """Event Information."""
        ds = Dataset()
        ds.TransactionUID = self.transaction_uid
        if self.committed:
            ds.ReferencedSOPSequence = [_item(reference) for reference in self.committed]
        if self.failed:
            ds.FailedSOPSequence = [_item(reference) for reference in self.failed]
            for item, reason in zip(ds.FailedSOPSequence, self.failed.values(), strict=True):
                item.FailureReason = reason
        return ds


def _reference(item: Dataset) -> Reference:
    return Reference(
        sop_class_uid=_uid(item, "ReferencedSOPClassUID"), sop_instance_uid=_uid(item, "ReferencedSOPInstanceUID")
    )


def _uid(ds: Dataset, keyword: str) -> str:
    return check_uid(ds.get(keyword), keyword)


def _item(reference: Reference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = reference.sop_class_uid
    item.ReferencedSOPInstanceUID = reference.sop_instance_uid
    return item
