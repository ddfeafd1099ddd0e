"""Who a derived object is: deterministic UIDs, and the words it says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from uuid import UUID, uuid5

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID

from dicom_sr_node import __version__
from dicom_sr_node.derive.elements import text_of
from dicom_sr_node.pixels.frame import Frame
from dicom_sr_node.pixels.gate import OUR_NAME
from dicom_sr_node.settings import Label

IMPLEMENTATION_CLASS_UID = "2.25.331494176947561040354149900150618908790"  # fixed, of this software
IMPLEMENTATION_VERSION = f"SRNODE_{__version__}"[:16]
REVISION = 3  # grows when this software makes other pixels of the same source and weights: other UIDs then
SERIES_NUMBER_OFFSET = 9000  # behind everything that a modality numbers

_NAMESPACE = UUID("5336ce33-8e56-43bd-9a27-87df63afe0a9")


@dataclass(frozen=True, kw_only=True)
class Maker:
    """The weights and parameters that a result was made with; everything but the source that its UIDs depend on."""

    model: str
    version: str
    sha256: str  # of the weights file
    scale: int
    label: Label
    precision: str = "float32"

    @property
    def key(self) -> str:
        """One line that differs where results may differ."""
        return f"{self.sha256}|x{self.scale}|label={self.label}|{self.precision}|revision {REVISION}"


def sop_instance_uid(source: Dataset, frame: Frame, maker: Maker) -> str:
    """The same for the same source, pixels and maker, another for any other (PS3.5 B.2).

    Of the pixels as they decode: an image that comes twice in two transfer syntaxes has one result.
    """
    return _uid("instance", str(source.SOPInstanceUID), frame.sha256, maker.key)


def series_instance_uid(source: Dataset, maker: Maker) -> str:
    """One derived series for each source series and maker, whenever its images arrive."""
    return _uid("series", str(source.StudyInstanceUID), str(source.SeriesInstanceUID), maker.key)


def companion_uid(source: Dataset, maker: Maker, *parts: str) -> str:
    """Of what accompanies a derived image, and of its series; as deterministic as the image's own."""
    return _uid(*parts, str(source.StudyInstanceUID), maker.key)


def device_uid(maker: Maker) -> str:
    """The identity of the trained model: another one at each retraining (IHE AIR 6.5.3.1)."""
    return _uid("weights", maker.sha256)


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


def _uid(*parts: str) -> str:
    return f"2.25.{uuid5(_NAMESPACE, chr(31).join(parts)).int}"


def series_number(source: Dataset) -> int:
    """9000 + the source's number, where it has a usable one."""
    text = text_of(source, "SeriesNumber")
    number = int(text) if text.isascii() and text.lstrip("+-").isdecimal() else 0
    return SERIES_NUMBER_OFFSET + (number if 0 <= number < 10**8 else 0)


def series_description(source: Dataset, maker: Maker) -> str:
    """LO, at most 64 characters, ASCII: `AI SR x4` and the source's own words if they are ASCII."""
    return f"AI SR x{maker.scale} {_ascii(source, 'SeriesDescription')}".strip()[:64]


def image_comments(maker: Maker) -> str:
    """Shown by many viewers."""
    return (
        f"AI-ENHANCED x{maker.scale}: added detail is estimated. "
        "Not for primary diagnosis; read with the original image."
    )


def derivation_description(source: Dataset, maker: Maker, where_labelled: str) -> str:
    """ST, at most 1024 characters."""
    block = f"{maker.scale}x{maker.scale}"
    text = (
        f"AI super-resolution x{maker.scale} by {maker.model} {maker.version} (weights sha256 {maker.sha256}), "
        f"{OUR_NAME} {__version__}. Fine detail is estimated, not acquired. "
        f"Each {block} block averages to the stored value of the source. Computed in {maker.precision}. "
        f"Label: {maker.label}. {where_labelled}"
    ).strip()
    before = _ascii(source, "DerivationDescription")
    return f"{text} Source: {before}"[:1024] if before else text


def local_time(source: Dataset, now: datetime) -> datetime:
    """`now` as the source tells time: one Timezone Offset From UTC governs all of an instance (PS3.3 C.12.1.1.8)."""
    offset = text_of(source, "TimezoneOffsetFromUTC")
    if len(offset) == 5 and offset[0] in "+-" and offset[1:].isdigit():
        minutes = int(offset[1:3]) * 60 + int(offset[3:])
        if minutes <= 14 * 60:
            return now.astimezone(timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes)))
    return now.astimezone()


def set_times(ds: Dataset, source: Dataset, now: datetime) -> None:
    """When a derived object, its content and its series were made, as the source tells time."""
    at = local_time(source, now)
    for keyword in ("Series", "Content", "InstanceCreation"):
        setattr(ds, f"{keyword}Date", at.strftime("%Y%m%d"))
        setattr(ds, f"{keyword}Time", at.strftime("%H%M%S.%f"))


def _ascii(source: Dataset, keyword: str) -> str:
    """Its text on one line if it is ASCII; never decoded, for a character set may be anything."""
    text = " ".join(text_of(source, keyword).split())
    return text if text.isascii() and text.isprintable() else ""
