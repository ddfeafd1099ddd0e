"""What the heat map and the report share: the source's patient and study, byte for byte, and who made them."""

from __future__ import annotations

from datetime import datetime
from itertools import chain

from pydicom import Dataset

from dicom_sr_node import __version__
from dicom_sr_node.derive import identity
from dicom_sr_node.derive.identity import Algorithm
from dicom_sr_node.dicom import software
from dicom_sr_node.dicom.elements import verbatim
from dicom_sr_node.dicom.modules import MODULES

_COPIED = ("Patient", "Clinical Trial Subject", "General Study", "Patient Study", "Clinical Trial Study")
_PATIENT_AND_STUDY = tuple(chain(*(MODULES[module] for module in _COPIED)))  # keywords
_ALSO_COPIED = ("SpecificCharacterSet", "TimezoneOffsetFromUTC")


def copy_patient_and_study(ds: Dataset, source: Dataset) -> None:
    """Byte for byte, in the source's own character set."""
    for keyword in (*_PATIENT_AND_STUDY, *_ALSO_COPIED):
        if keyword in source and (element := verbatim(source, keyword)) is not None:
            ds[keyword] = element
        elif keyword == "SpecificCharacterSet" and keyword in ds:
            del ds[keyword]
    ds.set_original_encoding(False, True, source.original_character_set)  # else text would be written anew


def accompany(ds: Dataset, source: Dataset, algorithm: Algorithm, now: datetime) -> None:
    """Make an object of highdicom one that accompanies a derived image."""
    copy_patient_and_study(ds, source)
    ds.file_meta = software.file_meta(ds.SOPClassUID, ds.SOPInstanceUID, ds.file_meta.TransferSyntaxUID)
    identity.set_times(ds, source, now)
    ds.SyntheticData = "YES"
    ds.ManufacturerModelName = algorithm.model[:64]
    ds.DeviceSerialNumber = algorithm.sha256[:16]
    ds.SoftwareVersions = [__version__, algorithm.sha256]
    ds.DeviceUID = identity.device_uid(algorithm)


def reference(ds: Dataset) -> Dataset:
    """C.12.1: SOP Instance Reference macro."""
    item = Dataset()
    item.ReferencedSOPClassUID = ds.SOPClassUID
    item.ReferencedSOPInstanceUID = ds.SOPInstanceUID
    return item
