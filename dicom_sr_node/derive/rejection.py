"""A rejection note (IHE RAD TF-3 4.66 and 4.115, IOCM): a Key Object Selection that asks an archive to hide objects."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, KeyObjectSelectionDocumentStorage, generate_uid

from dicom_sr_node.derive import identity
from dicom_sr_node.derive.companion import copy_patient_and_study
from dicom_sr_node.dicom import software

SOP_CLASS = KeyObjectSelectionDocumentStorage


class RejectionReason(StrEnum):
    """Why results are rejected; the titles of CID 7011 that fit."""

    WORKLIST = "worklist"  # they name another patient, study or order than they should
    RETENTION = "retention"  # they are not wanted any more


_TITLES = {
    RejectionReason.WORKLIST: codes.DCM.IncorrectModalityWorklistEntry,  # 113038
    RejectionReason.RETENTION: codes.DCM.DataRetentionPolicyExpired,  # 113039
}


def rejection(results: Sequence[Dataset], reason: RejectionReason, now: datetime) -> Dataset:
    """The note on results of one image, of whose patient and study it is."""
    first = results[0]
    content = KeyObjectSelection(_TITLES[reason], results)
    note: Dataset = KeyObjectSelectionDocument(
        evidence=list(results),
        content=content,
        series_instance_uid=generate_uid(prefix=None),
        series_number=identity.SERIES_NUMBER_OFFSET,
        sop_instance_uid=generate_uid(prefix=None),
        instance_number=1,
        manufacturer=software.NAME,
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    copy_patient_and_study(note, first)
    note.file_meta = software.file_meta(note.SOPClassUID, note.SOPInstanceUID, ExplicitVRLittleEndian)
    identity.set_times(note, first, now)
    note.SeriesDescription = "Rejection of AI results"
    return note
