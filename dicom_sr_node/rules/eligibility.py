"""May this image be upscaled? Asked of the header, before anything is decoded.

Each reason is one of the closed list `records.Reason`, with a sentence that a PACS administrator understands.
"""

from __future__ import annotations

import re
from typing import Literal

from pydicom import Dataset

from dicom_sr_node.config.rules import Rule
from dicom_sr_node.config.working import ModelSettings
from dicom_sr_node.dicom import header, software, sop_kinds
from dicom_sr_node.domain.errors import Skipped
from dicom_sr_node.domain.records import SkipReason

_CODE = re.compile(r"[A-Z0-9_ ]{1,16}")  # PS3.5 6.2, VR CS
SMALLEST_SIDE = 16  # pixels; below, a block has nothing around it to learn from
LARGEST_SIDE = 65535  # Rows and Columns are unsigned short


def admit(ds: Dataset, rule: Rule | None, why_none: str = "") -> Rule:
    """The rule by which an image is upscaled. Raises Skipped; why_none: what keeps each rule from taking it."""
    _check_kind(ds)
    _check_origin(ds)
    _check_pixels(ds)
    if rule is None:
        raise Skipped(SkipReason.NO_RULE, why_none)
    kind = sop_kinds.kind_of(ds.SOPClassUID)
    if kind is not None and kind.unnamed is not None and kind.modality not in rule.match.modality:
        raise Skipped(kind.unnamed, f'upscaled only where a rule names it: match.modality = ["{kind.modality}"]')
    return rule


def _check_kind(ds: Dataset) -> None:
    if sop_kinds.kind_of(ds.get("SOPClassUID")) is None:
        raise Skipped(SkipReason.NOT_A_RADIOGRAPH, f"only {sop_kinds.names()} are upscaled")
    if str(ds.get("PresentationIntentType") or "") == "FOR PROCESSING":
        raise Skipped(SkipReason.FOR_PROCESSING, "only images for presentation are upscaled")
    if "EncryptedAttributesSequence" in ds:
        raise Skipped(SkipReason.ENCRYPTED, "parts of the header cannot be read")
    if str(ds.get("QualityControlImage") or "") == "YES":
        raise Skipped(SkipReason.QUALITY_CONTROL, "its Quality Control Image is YES")


def _check_origin(ds: Dataset) -> None:
    """Nothing runs in circles, and no invented detail is taken for measured."""
    types = [str(value) for value in _values(ds.get("ImageType"))]
    if software.IMAGE_TYPE in types or str(ds.get("Manufacturer") or "") == software.NAME:
        raise Skipped(SkipReason.OURS, "its Image Type or Manufacturer says that this software made it")
    purposes = [
        (str(code.get("CodeValue")), str(code.get("CodingSchemeDesignator")))
        for item in ds.get("ContributingEquipmentSequence") or ()
        for code in item.get("PurposeOfReferenceCodeSequence") or ()
    ]
    if str(ds.get("SyntheticData") or "") == "YES" or software.SYNTHESIZING in purposes:
        raise Skipped(
            SkipReason.BY_AI, "its Synthetic Data or Contributing Equipment says that content was synthesized"
        )


def _check_pixels(ds: Dataset) -> None:
    if not ds.get("PixelData"):
        raise Skipped(SkipReason.NO_PIXELS, "there is no Pixel Data")
    frames = header.first(ds, "NumberOfFrames").strip()
    if frames.isdecimal() and int(frames) > 1:  # what is no number says nothing: these IODs do not have the element
        raise Skipped(SkipReason.MULTI_FRAME, f"{int(frames)} frames; only single images are upscaled")
    meant = _code(ds, "PhotometricInterpretation")
    if ds.get("SamplesPerPixel", 1) != 1 or meant not in ("MONOCHROME1", "MONOCHROME2"):
        layout = (
            f"Photometric Interpretation is {meant or 'missing'}, Samples per Pixel {_number(ds, 'SamplesPerPixel')}"
        )
        raise Skipped(SkipReason.COLOUR, f"{layout}; only MONOCHROME1 and MONOCHROME2 are upscaled")
    if ds.get("BitsAllocated") not in (8, 16):
        raise Skipped(SkipReason.DEPTH, f"{_number(ds, 'BitsAllocated')} bits allocated; only 8 and 16 are served")
    rows, columns = header.number(ds, "Rows"), header.number(ds, "Columns")
    if min(rows, columns) < SMALLEST_SIDE:
        raise Skipped(SkipReason.TOO_SMALL, f"{columns}x{rows}; at least {SMALLEST_SIDE} pixels on a side are needed")


def _code(ds: Dataset, keyword: str) -> str:
    """A Code String for a message; nothing else, for the element may hold anything."""
    text = header.first(ds, keyword).strip()
    return text if _CODE.fullmatch(text) else ""


def _number(ds: Dataset, keyword: str) -> str:
    value = ds.get(keyword)
    return str(value) if isinstance(value, int) else "no number of"


def _values(element: object) -> list[object]:
    return [element] if isinstance(element, str) or element is None else list(element)  # type: ignore[call-overload]


def scale_for(rows: int, columns: int, asked: int | Literal["auto"], served: tuple[int, ...], cap: float) -> int:
    """The scale for an image of this size: as asked, or with `auto` the largest whose result is within the cap.

    served: by the generator, the largest first. cap: megapixels. Raises Skipped.
    """
    scales = served if asked == "auto" else (asked,)
    for scale in scales:
        megapixels = rows * columns * scale**2 / 1e6
        if megapixels <= cap and max(rows, columns) * scale <= LARGEST_SIDE:
            return scale
    smallest = scales[-1]
    raise Skipped(
        SkipReason.TOO_LARGE,
        f"{columns}x{rows} at x{smallest} is {rows * columns * smallest**2 / 1e6:.0f} megapixels, "
        f"the cap is {cap:g} (model.max_output_megapixels)",
    )


def most_bytes(model: ModelSettings) -> int:
    """No file of an image within the cap is larger: twice its pixels uncompressed, and a generous header."""
    return int(model.max_output_megapixels * 1e6) + (64 << 20)
