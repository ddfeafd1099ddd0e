"""The SOP classes whose images are upscaled: one row for each. Everything that depends on the class reads this table.

A row decides eligibility, the presentation contexts on both sides, what a derived image copies and says, what `doctor`
asks of a peer, what `pull` looks for, and the conformance statement.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalXRayImageStorageForPresentation,
)

from dicom_sr_node.domain.records import SkipReason

_COMMON = (
    "Patient",
    "Clinical Trial Subject",
    "General Study",
    "Patient Study",
    "Clinical Trial Study",
    "General Series",
    "Clinical Trial Series",
    "General Equipment",
    "General Acquisition",
    "General Image",
    "General Reference",
    "Image Pixel",
    "Contrast/Bolus",
    "Display Shutter",
    "Device",
    "Specimen",
    "VOI LUT",
    "SOP Common",
    "Common Instance Reference",
)
_CR = ("CR Series", "CR Image", "Modality LUT")  # PS3.3 A.2
_DX = (  # PS3.3 A.26
    "DX Series",
    "Frame Of Reference",
    "Intervention",
    "DX Image",
    "DX Detector",
    "X-Ray Collimator",
    "DX Positioning",
    "X-Ray Tomography Acquisition",
    "X-Ray Acquisition Dose",
    "X-Ray Generation",
    "X-Ray Grid",
    "Image Histogram",
    "Acquisition Context",
)


@dataclass(frozen=True, kw_only=True)
class SopKind:
    """One SOP class.

    unnamed: why its images are skipped where no rule names its modality; None: any rule may take them.
    lossy_default: Lossy Image Compression where the source says nothing; empty: the element is left out.
    """

    uid: UID
    modality: str  # the Modality of an image that does not say its own
    name: str  # for people
    iod_modules: tuple[str, ...]  # names of `dicom.modules.MODULES`
    unnamed: SkipReason | None = None
    lossy_default: str = "00"


KINDS: dict[str, SopKind] = {
    str(kind.uid): kind
    for kind in (
        SopKind(
            uid=ComputedRadiographyImageStorage,
            modality="CR",
            name="CR",
            iod_modules=(*_COMMON, *_CR),
            lossy_default="",  # type 3 in General Image, where DX has type 1
        ),
        SopKind(
            uid=DigitalXRayImageStorageForPresentation,
            modality="DX",
            name="DX for presentation",
            iod_modules=(*_COMMON, *_DX),
        ),
        SopKind(
            uid=DigitalMammographyXRayImageStorageForPresentation,
            modality="MG",
            name="MG for presentation",
            iod_modules=(*_COMMON, *_DX, "Mammography Image"),
            unnamed=SkipReason.MAMMOGRAPHY,
        ),
    )
}


def kind_of(sop_class_uid: object) -> SopKind | None:
    """The row of a SOP Class UID; None: images of this class are not upscaled."""
    return KINDS.get(str(sop_class_uid))


def names() -> str:
    """The classes that are upscaled, in words: "CR, DX for presentation and MG for presentation"."""
    *others, last = (kind.name for kind in KINDS.values())
    return f"{', '.join(others)} and {last}" if others else last


def usual_modalities() -> tuple[str, ...]:
    """The modalities that any rule may take."""
    return tuple(dict.fromkeys(kind.modality for kind in KINDS.values() if kind.unnamed is None))
