"""How this software names itself in DICOM objects and on associations."""

from __future__ import annotations

from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID

from dicom_sr_node import __version__

NAME = "dicom_sr_node"  # Manufacturer of everything this node makes
IMAGE_TYPE = "AI_SUPERRES"  # value 4 of Image Type
SYNTHESIZING = ("109100", "DCM")  # purpose of a Contributing Equipment that invented content (CID 7005)
IMPLEMENTATION_CLASS_UID = "2.25.331494176947561040354149900150618908790"  # fixed, of this software
IMPLEMENTATION_VERSION = f"SRNODE_{__version__}"[:16]


def file_meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> FileMetaDataset:
    """File meta information of a file that this software writes (PS3.10 7.1)."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION
    return meta
