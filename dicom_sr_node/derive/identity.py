"""Who a derived object is: deterministic UIDs, and the words it says of itself."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from uuid import UUID, uuid5

from pydicom import Dataset

from dicom_sr_node import __version__
from dicom_sr_node.config.types import Label
from dicom_sr_node.dicom import software
from dicom_sr_node.dicom.elements import text_of
from dicom_sr_node.pixels.frame import Frame

REVISION = 3  # grows when this software makes other pixels of the same source and weights: other UIDs then
SERIES_NUMBER_OFFSET = 9000  # behind everything that a modality numbers

_WHOSE = (
    "PatientID",
    "IssuerOfPatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "AccessionNumber",
)
_NAMESPACE = UUID("5336ce33-8e56-43bd-9a27-87df63afe0a9")


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """The weights and parameters that a result was made with; everything but the source that its UIDs depend on."""

    model: str
    version: str
    sha256: str  # of the weights file
    scale: int
    label: Label
    recipe: str = "float32"  # how it was computed: the backend and its precision

    @property
    def key(self) -> str:
        """One line that differs where results may differ."""
        return f"{self.sha256}|x{self.scale}|label={self.label}|{self.recipe}|revision {REVISION}"


def sop_instance_uid(source: Dataset, frame: Frame, algorithm: Algorithm) -> str:
    """The same for the same source, pixels and algorithm, another for any other (PS3.5 B.2).

    Another patient, study or accession is another source: what a result says of them must follow it. Of the pixels as
    they decode: an image that comes twice in two transfer syntaxes has one result.
    """
    return _uid("instance", str(source.SOPInstanceUID), whose(source), frame.sha256, algorithm.key)


def whose(source: Dataset) -> str:
    """One hash for the patient, the study and the order that an image is of, whatever character set it says them in."""
    texts = (_read(source, keyword).strip(" ^=\0") for keyword in _WHOSE)
    return hashlib.sha256(chr(31).join(texts).encode()).hexdigest()


def _read(source: Dataset, keyword: str) -> str:
    """A text without decoding its element, which a result copies byte for byte; as bytes where it cannot be read."""
    text, encodings = text_of(source, keyword), source.original_character_set
    encodings = [encodings] if isinstance(encodings, str) else encodings
    if text.isascii() or len(encodings) != 1:
        return text
    try:
        return text.encode("latin-1").decode(encodings[0])
    except (LookupError, UnicodeError):
        return text


def series_instance_uid(source: Dataset, algorithm: Algorithm) -> str:
    """One derived series for each source series and algorithm, whenever its images arrive."""
    return _uid("series", str(source.StudyInstanceUID), str(source.SeriesInstanceUID), algorithm.key)


def companion_uid(source: Dataset, algorithm: Algorithm, *parts: str) -> str:
    """Of what accompanies a derived image, and of its series; as deterministic as the image's own."""
    return _uid(*parts, str(source.StudyInstanceUID), algorithm.key)


def device_uid(algorithm: Algorithm) -> str:
    """The identity of the trained model: another one at each retraining (IHE AIR 6.5.3.1)."""
    return _uid("weights", algorithm.sha256)


def _uid(*parts: str) -> str:
    return f"2.25.{uuid5(_NAMESPACE, chr(31).join(parts)).int}"


def series_number(source: Dataset) -> int:
    """9000 + the source's number, where it has a usable one."""
    text = text_of(source, "SeriesNumber")
    number = int(text) if text.isascii() and text.lstrip("+-").isdecimal() else 0
    return SERIES_NUMBER_OFFSET + (number if 0 <= number < 10**8 else 0)


def series_description(source: Dataset, algorithm: Algorithm) -> str:
    """LO, at most 64 characters, ASCII: `AI SR x4` and the source's own words if they are ASCII."""
    return f"AI SR x{algorithm.scale} {_ascii(source, 'SeriesDescription')}".strip()[:64]


def image_comments(algorithm: Algorithm) -> str:
    """Shown by many viewers."""
    return (
        f"AI-ENHANCED x{algorithm.scale}: added detail is estimated. "
        "Not for primary diagnosis; read with the original image."
    )


def derivation_description(source: Dataset, algorithm: Algorithm, where_labelled: str) -> str:
    """ST, at most 1024 characters."""
    block = f"{algorithm.scale}x{algorithm.scale}"
    text = (
        f"AI super-resolution x{algorithm.scale} by {algorithm.model} {algorithm.version} "
        f"(weights sha256 {algorithm.sha256}), "
        f"{software.NAME} {__version__}. Fine detail is estimated, not acquired. "
        f"Each {block} block averages to the stored value of the source. Computed in {algorithm.recipe}. "
        f"Label: {algorithm.label}. {where_labelled}"
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
