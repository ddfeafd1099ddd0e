"""What the heat map and the report share: the source's patient and study, byte for byte, and who made them."""

from __future__ import annotations

from datetime import datetime
from itertools import chain

from pydicom import Dataset

from dicom_sr_node import __version__
from dicom_sr_node.derive import identity
from dicom_sr_node.derive.elements import verbatim
from dicom_sr_node.derive.identity import Maker
from dicom_sr_node.derive.modules import MODULES

_COPIED = ("Patient", "Clinical Trial Subject", "General Study", "Patient Study", "Clinical Trial Study")
_ALSO_COPIED = ("SpecificCharacterSet", "TimezoneOffsetFromUTC")


def accompany(ds: Dataset, source: Dataset, maker: Maker, now: datetime) -> None:
    """Make an object of highdicom one that accompanies a derived image."""
    for keyword in chain(*(MODULES[module] for module in _COPIED), _ALSO_COPIED):
        if keyword in source and (element := verbatim(source, keyword)) is not None:
            ds[keyword] = element
        elif keyword == "SpecificCharacterSet" and keyword in ds:
            del ds[keyword]
    ds.set_original_encoding(False, True, source.original_character_set)  # else text would be written anew
    ds.file_meta = identity.file_meta(ds.SOPClassUID, ds.SOPInstanceUID, ds.file_meta.TransferSyntaxUID)
    identity.set_times(ds, source, now)
    ds.SyntheticData = "YES"
    ds.ManufacturerModelName = maker.model[:64]
    ds.DeviceSerialNumber = maker.sha256[:16]
    ds.SoftwareVersions = [__version__, maker.sha256]
    ds.DeviceUID = identity.device_uid(maker)


def reference(ds: Dataset) -> Dataset:
    """C.12.1: SOP Instance Reference macro."""
    item = Dataset()
    item.ReferencedSOPClassUID = ds.SOPClassUID
    item.ReferencedSOPInstanceUID = ds.SOPInstanceUID
    return item
