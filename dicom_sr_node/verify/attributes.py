"""The checks on everything but pixels: extent, grey scale, identity, references, flags."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydicom import Dataset
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import FileDataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag

from dicom_sr_node.derive import geometry, identity, label, policy, window
from dicom_sr_node.derive.identity import Algorithm
from dicom_sr_node.derive.image import LOSSY_METHODS, modality_of
from dicom_sr_node.derive.policy import AttributeAction
from dicom_sr_node.dicom import software
from dicom_sr_node.dicom.elements import verbatim
from dicom_sr_node.pixels.frame import Frame
from dicom_sr_node.verify.check import Verification, equal

GREY_SCALE = [
    "PhotometricInterpretation",
    "BitsStored",
    "PixelRepresentation",
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


def attribute_checks(
    derived: FileDataset, source: FileDataset, original: Frame, algorithm: Algorithm
) -> Iterator[Verification]:
    """All that needs the two headers. original: the pixels of the source."""
    yield _extent(derived, source, original, algorithm)
    yield _same("grey scale", derived, source, GREY_SCALE)
    yield _window(derived, source)
    yield _lossy(derived, source)
    yield _same("patient and study", derived, source, PATIENT_AND_STUDY)
    yield _all_else(derived, source)
    yield from _references(derived, source)
    yield equal(
        "series",
        str(derived.SeriesInstanceUID),
        identity.series_instance_uid(source, algorithm),
        "function of source series and weights",
    )
    yield from _flags(derived, algorithm)


def _window(derived: Dataset, source: Dataset) -> Verification:
    expected = window.single(source)
    wrong = [keyword for keyword in window.KEYWORDS if _plain(derived, Tag(keyword)) != _plain(expected, Tag(keyword))]
    count = len(windows := window.windows(source))
    detail = "the source has none" if not windows else "as the source" if count == 1 else f"the first of {count}"
    return Verification("window", not wrong, f"{', '.join(wrong)} differ" if wrong else detail)


def _lossy(derived: Dataset, source: FileDataset) -> Verification:
    """Once lossy, always lossy (PS3.3 C.7.6.1.1.5)."""
    was = str(source.get("LossyImageCompression") or "") == "01" or source.file_meta.TransferSyntaxUID in LOSSY_METHODS
    says = str(derived.get("LossyImageCompression") or "") == "01"
    return Verification("lossy history", says == was, f"lossy compression: {'yes' if says else 'no'}, as the source")


def _extent(derived: Dataset, source: Dataset, original: Frame, algorithm: Algorithm) -> Verification:
    expected = geometry.scaled(source, algorithm.scale, original.overlays)
    if algorithm.label == "overlay":
        label.overlay(expected, algorithm.scale, (derived.Rows, derived.Columns))
    tags = {tag for ds in (derived, expected) for tag in ds.keys() if policy.action_for(tag) is AttributeAction.SCALE}  # noqa: SIM118
    for tag in sorted(tags):
        value, expected_value = _plain(derived, tag), _plain(expected, tag)
        if value != expected_value:
            return Verification(
                "extent", False, f"{keyword_for_tag(tag) or tag} is {value!r}, expected {expected_value!r}"[:300]
            )
    spacing = next((expected.get(keyword) for keyword in geometry.SPACINGS if keyword in expected), None)
    if spacing is None:
        return Verification("extent", True, "the source has no usable pixel spacing, so the result has none")
    height, width = float(spacing[0]) * derived.Rows, float(spacing[1]) * derived.Columns
    return Verification("extent", True, f"{width:.3f} x {height:.3f} mm, as the source")


def _all_else(derived: Dataset, source: Dataset) -> Verification:
    """Everything that the policy copies is there as it was, and nothing else is."""
    tags = {tag for ds in (derived, source) for tag in ds.keys()}  # noqa: SIM118
    wrong = [
        tag
        for tag in sorted(tags)
        if (fate := policy.action_for(tag)) in (AttributeAction.COPY, AttributeAction.DROP)
        and _plain(derived, tag) != (_plain(source, tag) if fate is AttributeAction.COPY else None)
    ]
    names = [keyword_for_tag(tag) or str(tag) for tag in wrong[:8]]
    return Verification("all else", not wrong, f"{', '.join(names)} differ" if wrong else "copied, and nothing added")


def _plain(ds: Dataset, tag: BaseTag) -> object:
    """A value for comparing, as it stands in the file but for padding, items and all; empty is as good as absent."""
    element = verbatim(ds, tag) if tag in ds else None
    value: Any = None if element is None else element.value
    if value is None or (isinstance(value, Sequence) and not value):
        return None
    if isinstance(value, Sequence):
        items = [{inner: _plain(item, inner) for inner in sorted(item.keys())} for item in value]
        return [{inner: plain for inner, plain in item.items() if plain is not None} for item in items]
    if isinstance(value, bytes):
        text = value.decode("latin-1")
    else:
        text = "\\".join(map(str, value)) if isinstance(value, MultiValue | list) else str(value)
    return text.rstrip(" \0") or None


def _same(name: str, derived: Dataset, source: Dataset, keywords: list[str]) -> Verification:
    differing = [keyword for keyword in keywords if _plain(derived, Tag(keyword)) != _expected(source, keyword)]
    return Verification(name, not differing, f"{', '.join(differing)} differ" if differing else "equal to the source")


def _expected(source: Dataset, keyword: str) -> object:
    """What the source says, or what the node puts where it says nothing."""
    if keyword == "Modality":
        return modality_of(source)
    defaults = {"PixelRepresentation": "0", "BitsStored": str(source.get("BitsAllocated"))}
    return _plain(source, Tag(keyword)) or defaults.get(keyword)


def _references(derived: Dataset, source: Dataset) -> Iterator[Verification]:
    source_uids = (str(source.SOPClassUID), str(source.SOPInstanceUID))
    images = [_reference(item) for item in derived.get("SourceImageSequence") or ()]
    yield Verification(
        "source image",
        images == [source_uids],
        f"{len(images)} reference(s)" if images == [source_uids] else f"{images}, expected {source_uids}",
    )
    series = [
        (str(item.get("SeriesInstanceUID")), *_reference(inner))
        for item in derived.get("ReferencedSeriesSequence") or ()
        for inner in item.get("ReferencedInstanceSequence") or ()
    ]
    expected = [(str(source.SeriesInstanceUID), *source_uids)]
    yield Verification(
        "source series", series == expected, "referenced" if series == expected else f"{series}, expected {expected}"
    )


def _reference(item: Dataset) -> tuple[str, str]:
    return str(item.get("ReferencedSOPClassUID")), str(item.get("ReferencedSOPInstanceUID"))


def _flags(derived: Dataset, algorithm: Algorithm) -> Iterator[Verification]:
    yield equal(
        "image type",
        list(derived.get("ImageType") or ()),
        ["DERIVED", "SECONDARY", "", software.IMAGE_TYPE],
        "derived by AI",
    )
    codes = [
        (str(item.get("CodeValue")), str(item.get("CodingSchemeDesignator")))
        for item in derived.get("DerivationCodeSequence") or ()
    ]
    yield equal("derivation", codes, [("113085", "DCM")], "spatial resampling")
    yield equal("qualification", str(derived.get("ContentQualification")), "RESEARCH", "RESEARCH")
    yield equal("synthetic data", str(derived.get("SyntheticData")), "YES", "YES")
    devices = [str(item.get("DeviceUID") or "") for item in derived.get("ContributingEquipmentSequence") or ()]
    named = identity.device_uid(algorithm) in devices and derived.get("DeviceUID") == identity.device_uid(algorithm)
    yield Verification(
        "weights",
        named,
        f"{algorithm.model} {algorithm.version}, sha256 {algorithm.sha256}"
        if named
        else "Device UID is not that of the weights",
    )
    comments, expected = str(derived.get("ImageComments") or ""), identity.image_comments(algorithm)
    detail = comments.removeprefix(expected).strip() or "say that detail is estimated"
    yield Verification(
        "image comments", comments.startswith(expected), detail if comments.startswith(expected) else f"{comments!r}"
    )
