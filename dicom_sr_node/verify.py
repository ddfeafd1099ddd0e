"""`srnode verify`: a derived image held against its source.

Each check is one promise, PASS or FAIL with what was found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import FileDataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag

from dicom_sr_node.derive import geometry, identity, label, policy
from dicom_sr_node.derive.identity import Maker
from dicom_sr_node.derive.image import verbatim
from dicom_sr_node.errors import Undecodable
from dicom_sr_node.pixels import header
from dicom_sr_node.pixels.decode import decode
from dicom_sr_node.pixels.frame import Frame
from dicom_sr_node.pixels.gate import OUR_IMAGE_TYPE
from model.consistency import block_sums

GREY_SCALE = [
    "PhotometricInterpretation",
    "BitsStored",
    "PixelRepresentation",
    "WindowCenter",
    "WindowWidth",
    "WindowCenterWidthExplanation",
    "VOILUTFunction",
    "VOILUTSequence",
    "ModalityLUTSequence",
    "RescaleIntercept",
    "RescaleSlope",
    "RescaleType",
    "PresentationLUTShape",
    "PresentationLUTSequence",
    "PixelIntensityRelationship",
    "PixelIntensityRelationshipSign",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
]
PATIENT_AND_STUDY = [
    "SpecificCharacterSet",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "SOPClassUID",
    "Modality",
    "InstanceNumber",
]

LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")

_MADE_BY = re.compile(r"AI super-resolution x(\d+) by (\S+) (\S+) \(weights sha256 ([0-9a-f]{64})\)")
_LABEL_KIND = re.compile(r"Label: (burned|overlay|none)\.")
_LABELLED = re.compile(r"Label burned into (rows \d+-\d+, columns \d+-\d+)\.")


@dataclass(frozen=True)
class Check:
    """One line of the report."""

    name: str
    passed: bool
    found: str


def verify(derived_path: Path, source_path: Path) -> list[Check]:
    """All checks, in the order of the report. Raises Unreadable and OSError for files that are no DICOM."""
    derived, source = header.read(derived_path), header.read(source_path)
    maker = _maker(derived)
    if maker is None:
        return [
            Check("provenance", False, "its Derivation Description names no weights of this software: not made by it")
        ]
    with header.usable():
        return [*_pixels(derived, source, maker), *_header(derived, source, maker)]


def _maker(derived: Dataset) -> Maker | None:
    text = str(derived.get("DerivationDescription") or "")
    made = _MADE_BY.search(text)
    if made is None or int(made[1]) < 2:
        return None
    kind = _LABEL_KIND.search(text)
    if kind is None:
        return None
    label_kind: identity.Label = kind[1]  # type: ignore[assignment]
    return Maker(scale=int(made[1]), model=made[2], version=made[3], sha256=made[4], label=label_kind)


def _pixels(derived: FileDataset, source: FileDataset, maker: Maker) -> Iterator[Check]:
    scale = maker.scale
    size = (source.Rows * scale, source.Columns * scale)
    same_size = (derived.Rows, derived.Columns) == size
    yield Check(
        "size", same_size, f"{derived.Columns}x{derived.Rows}, source {source.Columns}x{source.Rows}, scale {scale}"
    )
    try:
        result, original = decode(derived), decode(source)
    except Undecodable as error:
        yield Check("pixel data", False, str(error))
        return
    yield _instance_check(derived, source, original, maker)
    if not same_size:
        return
    yield _label_check(derived, source, result.values, original, scale)
    yield _block_check(result.values, original, label_box(derived, scale), scale)
    yield _padding_check(result.values, original, scale)


def _instance_check(derived: FileDataset, source: FileDataset, original: Frame, maker: Maker) -> Check:
    said = (str(derived.SOPInstanceUID), str(derived.file_meta.get("MediaStorageSOPInstanceUID")))
    expected = identity.sop_instance_uid(source, original, maker)
    told = (
        "function of source, its pixels and weights" if said == (expected, expected) else f"{said}, expected {expected}"
    )
    return Check("instance UID", said == (expected, expected), told)


def label_box(derived: Dataset, scale: int) -> label.Box | None:
    """Where a burned label lies, or None."""
    if not _LABELLED.search(str(derived.get("DerivationDescription") or "")):
        return None
    return label.draw((derived.Rows, derived.Columns), scale)[0]


def _label_check(derived: Dataset, source: Dataset, result: NDArray[Any], original: Frame, scale: int) -> Check:
    """The label covers just its box, and every pixel of it is what the label says."""
    box = label_box(derived, scale)
    if box is None:
        return Check("label", True, "none burned in")
    expected = result.copy()
    label.burn(expected, scale, source, original)
    said = _LABELLED.search(str(derived.DerivationDescription))
    wrong = int((expected != result).sum())
    passed = wrong == 0 and said is not None and said[1] == str(box)
    return Check("label", passed, f"{box}, excluded from the block means; {wrong} pixels differ from the label's own")


def _block_check(result: NDArray[Any], original: Frame, box: label.Box | None, scale: int) -> Check:
    wrong = block_sums(result, scale) != original.values.astype(np.int64) * scale**2
    if box is not None:
        wrong[box.top // scale : box.bottom // scale, box.left // scale : box.right // scale] = False
    count, blocks = int(wrong.sum()), wrong.size
    if not count:
        return Check("block means", True, f"{blocks} blocks of {scale}x{scale} average to the source's stored value")
    row, column = (int(index[0]) for index in np.nonzero(wrong))
    return Check(
        "block means",
        False,
        f"{count} of {blocks} blocks differ, the first at source row {row + 1}, column {column + 1}",
    )


def _padding_check(result: NDArray[Any], original: Frame, scale: int) -> Check:
    if original.padding is None:
        return Check("padding", True, "the source declares none")
    first, last = original.padding
    theirs = (original.values >= first) & (original.values <= last)
    ours = (result >= first) & (result <= last)
    blocks = block_sums(ours.astype(np.uint8), scale)
    stray = int(((blocks > 0) & ~theirs).sum())
    return Check("padding", stray == 0, f"{int(theirs.sum())} padding pixels, {stray} blocks with stray padding values")


def _header(derived: FileDataset, source: FileDataset, maker: Maker) -> Iterator[Check]:
    yield _extent(derived, source, maker)
    yield _same("grey scale", derived, source, GREY_SCALE)
    yield _same("patient and study", derived, source, PATIENT_AND_STUDY)
    yield _all_else(derived, source)
    yield from _references(derived, source)
    yield _equal(
        "series",
        str(derived.SeriesInstanceUID),
        identity.series_instance_uid(source, maker),
        "function of source series and weights",
    )
    yield from _flags(derived, maker)


def _extent(derived: Dataset, source: Dataset, maker: Maker) -> Check:
    expected = geometry.scaled(source, maker.scale)
    if maker.label == "overlay":
        label.overlay(expected, maker.scale, (derived.Rows, derived.Columns))
    tags = {tag for ds in (derived, expected) for tag in ds.keys() if geometry.is_scaled(tag)}  # noqa: SIM118
    for tag in sorted(tags):
        found, wanted = _plain(derived, tag), _plain(expected, tag)
        if found != wanted:
            return Check("extent", False, f"{keyword_for_tag(tag) or tag} is {found!r}, expected {wanted!r}"[:300])
    spacing = next((expected.get(keyword) for keyword in geometry.SPACINGS if keyword in expected), None)
    if spacing is None:
        return Check("extent", True, "the source has no usable pixel spacing, so the result has none")
    height, width = float(spacing[0]) * derived.Rows, float(spacing[1]) * derived.Columns
    return Check("extent", True, f"{width:.3f} x {height:.3f} mm, as the source")


def _all_else(derived: Dataset, source: Dataset) -> Check:
    """Everything that the policy copies is there as it was, and nothing else is."""
    ours = {Tag(keyword) for keyword in (*policy.SET, *LOSSY)}
    tags = {tag for ds in (derived, source) for tag in ds.keys()}  # noqa: SIM118
    wrong = [
        tag
        for tag in sorted(tags - ours)
        if not geometry.is_scaled(tag)
        and _plain(derived, tag) != (_plain(source, tag) if policy.is_copied(tag) else None)
    ]
    names = [keyword_for_tag(tag) or str(tag) for tag in wrong[:8]]
    return Check("all else", not wrong, f"{', '.join(names)} differ" if wrong else "copied, and nothing added")


def _plain(ds: Dataset, tag: BaseTag) -> object:
    """A value for comparing, as it stands in the file but for padding; empty is as good as absent."""
    element = verbatim(ds, tag) if tag in ds else None
    value: Any = None if element is None else element.value
    if value is None or (isinstance(value, Sequence) and not value):
        return None
    if isinstance(value, Sequence):
        return value
    if isinstance(value, bytes):
        text = value.decode("latin-1")
    else:
        text = "\\".join(map(str, value)) if isinstance(value, MultiValue | list) else str(value)
    return text.rstrip(" \0") or None


def _same(name: str, derived: Dataset, source: Dataset, keywords: list[str]) -> Check:
    differing = [keyword for keyword in keywords if _value(derived, keyword) != _value(source, keyword)]
    return Check(name, not differing, f"{', '.join(differing)} differ" if differing else "equal to the source")


def _value(ds: Dataset, keyword: str) -> object:
    """The value for comparing; an empty element says as much as an absent one."""
    element = ds.get(keyword)
    return None if element is None or element == "" or element == [] else element


def _references(derived: Dataset, source: Dataset) -> Iterator[Check]:
    wanted = (str(source.SOPClassUID), str(source.SOPInstanceUID))
    images = [_reference(item) for item in derived.get("SourceImageSequence") or ()]
    yield Check(
        "source image",
        images == [wanted],
        f"{len(images)} reference(s)" if images == [wanted] else f"{images}, expected {wanted}",
    )
    series = [
        (str(item.get("SeriesInstanceUID")), *_reference(inner))
        for item in derived.get("ReferencedSeriesSequence") or ()
        for inner in item.get("ReferencedInstanceSequence") or ()
    ]
    expected = [(str(source.SeriesInstanceUID), *wanted)]
    yield Check(
        "source series", series == expected, "referenced" if series == expected else f"{series}, expected {expected}"
    )


def _reference(item: Dataset) -> tuple[str, str]:
    return str(item.get("ReferencedSOPClassUID")), str(item.get("ReferencedSOPInstanceUID"))


def _flags(derived: Dataset, maker: Maker) -> Iterator[Check]:
    yield _equal(
        "image type",
        list(derived.get("ImageType") or ()),
        ["DERIVED", "SECONDARY", "", OUR_IMAGE_TYPE],
        "derived by AI",
    )
    codes = [
        (str(item.get("CodeValue")), str(item.get("CodingSchemeDesignator")))
        for item in derived.get("DerivationCodeSequence") or ()
    ]
    yield _equal("derivation", codes, [("113085", "DCM")], "spatial resampling")
    yield _equal("qualification", str(derived.get("ContentQualification")), "RESEARCH", "RESEARCH")
    yield _equal("synthetic data", str(derived.get("SyntheticData")), "YES", "YES")
    devices = [str(item.get("DeviceUID") or "") for item in derived.get("ContributingEquipmentSequence") or ()]
    named = identity.device_uid(maker) in devices and derived.get("DeviceUID") == identity.device_uid(maker)
    yield Check(
        "weights",
        named,
        f"{maker.model} {maker.version}, sha256 {maker.sha256}" if named else "Device UID is not that of the weights",
    )
    yield _equal(
        "image comments",
        str(derived.get("ImageComments")),
        identity.image_comments(maker),
        "say that detail is estimated",
    )


def _equal(name: str, found: object, expected: object, told: str) -> Check:
    return Check(name, found == expected, told if found == expected else f"{found}, expected {expected}")
