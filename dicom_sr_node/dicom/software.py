"""How this software names itself in DICOM objects and on associations."""

from __future__ import annotations

from pydicom import DataElement, Dataset
from pydicom.config import IGNORE
from pydicom.dataset import FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.tag import Tag
from pydicom.uid import UID

from dicom_sr_node import __version__
from dicom_sr_node.domain.records import Origin

NAME = "dicom_sr_node"  # Manufacturer of everything this node makes
IMAGE_TYPE = "AI_SUPERRES"  # value 4 of Image Type
SYNTHESIZING = ("109100", "DCM")  # purpose of a Contributing Equipment that invented content (CID 7005)
IMPLEMENTATION_CLASS_UID = "2.25.331494176947561040354149900150618908790"  # fixed, of this software
IMPLEMENTATION_VERSION = f"SRNODE_{__version__}"[:16]
_TITLES = ("SendingApplicationEntityTitle", "ReceivingApplicationEntityTitle")


def file_meta(
    sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, origin: Origin | None = None
) -> FileMetaDataset:
    """File meta information of a file that this software writes (PS3.10 7.1); origin: of one that was received."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION
    if origin is not None:
        for keyword, title in zip(_TITLES, (origin.calling_ae, origin.called_ae), strict=True):
            meta.add(DataElement(Tag(keyword), "AE", title, validation_mode=IGNORE))  # as it was said
    return meta


def origin_of(meta: Dataset) -> Origin:
    """Who called whom when this software received a file; nothing of a file that came otherwise."""
    if meta.get("ImplementationClassUID") != IMPLEMENTATION_CLASS_UID:
        return Origin()
    calling, called = (_text(meta.get(keyword)) for keyword in _TITLES)
    return Origin(calling_ae=calling, called_ae=called)


def _text(title: object) -> str:
    """A title in which somebody has put the separator of values is one title."""
    return "\\".join(title) if isinstance(title, MultiValue) else str(title or "")
