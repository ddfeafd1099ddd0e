"""The attribute policy: a closed table, and a derived image that follows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword
from pydicom.tag import Tag
from support.images import image, process, save, upscale

from dicom_sr_node.derive import policy
from dicom_sr_node.derive.policy import AttributeAction
from dicom_sr_node.dicom.elements import verbatim
from dicom_sr_node.pixels.sandbox import DecoderProcess
from dicom_sr_node.verify.verification import verify
from model.upscaler import Upscaler

# PS3.3 and shared experience, by hand: what the table must say of the attributes that matter most.
EXPECTED = {
    AttributeAction.COPY: [
        "SpecificCharacterSet",
        "PatientName",
        "PatientID",
        "AccessionNumber",
        "StudyDate",
        "AcquisitionDate",
        "AcquisitionTime",
        "IrradiationEventUID",
        "RequestAttributesSequence",
        "PresentationIntentType",
        "Laterality",
        "ImageLaterality",
        "PatientOrientation",
        "ViewPosition",
        "ViewCodeSequence",
        "BodyPartExamined",
        "AnatomicRegionSequence",
        "KVP",
        "ExposureIndex",
        "DetectorID",
        "DetectorElementSpacing",
        "FieldOfViewDimensions",
        "EstimatedRadiographicMagnificationFactor",
        "DistanceSourceToDetector",
        "PixelAspectRatio",
        "PixelIntensityRelationship",
        "PixelIntensityRelationshipSign",
        "RescaleSlope",
        "RescaleIntercept",
        "RescaleType",
        "ModalityLUTSequence",
        "VOILUTSequence",
        "VOILUTFunction",
        "PresentationLUTShape",
        "PixelPaddingValue",
        "PixelPaddingRangeLimit",
        "FrameOfReferenceUID",
        "BurnedInAnnotation",
        "OtherPatientIDs",
        "ShutterShape",
        "CollimatorShape",
        "InstitutionName",
    ],
    AttributeAction.SCALE: [
        "PixelSpacing",
        "ImagerPixelSpacing",
        "NominalScannedPixelSpacing",
        "PixelSpacingCalibrationType",
        "ShutterLeftVerticalEdge",
        "CollimatorLowerHorizontalEdge",
        "VerticesOfThePolygonalShutter",
        "RadiusOfCircularCollimator",
    ],
    AttributeAction.SET: [
        "SOPInstanceUID",
        "SeriesInstanceUID",
        "ImageType",
        "Manufacturer",
        "ContentQualification",
        "SyntheticData",
        "SourceImageSequence",
        "LossyImageCompression",
        "WindowCenter",
        "HighBit",
    ],
    AttributeAction.DROP: [
        "ReferencedPerformedProcedureStepSequence",
        "PerformedProcedureStepID",
        "IconImageSequence",
        "HistogramSequence",
        "DigitalSignaturesSequence",
        "OriginalAttributesSequence",
        "EncryptedAttributesSequence",
        "SpatialResolution",
        "DetectorBinning",
        "StationName",
        "ReferencedImageSequence",
        "DataSetTrailingPadding",
        "SliceThickness",
        "EchoTime",
    ],
}


@pytest.mark.parametrize(
    ("fate", "keyword"), [(fate, keyword) for fate, names in EXPECTED.items() for keyword in names]
)
def test_the_table_says_what_it_must(fate: AttributeAction, keyword: str) -> None:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    assert policy.action_for(Tag(tag)) is fate


def test_private_and_unknown_elements_and_group_lengths_are_dropped() -> None:
    for tag in (0x00091001, 0x00090010, 0x00280000, 0x50000010, 0x7FE10010, 0x00080009):
        assert policy.action_for(Tag(tag)) is AttributeAction.DROP
    assert policy.action_for(Tag(0x60020010)) is AttributeAction.SCALE


# Their values are bound to the pixels, to one another or to the encoding: other tests vary them.
BOUND = {
    "SpecificCharacterSet",
    "TimezoneOffsetFromUTC",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "ModalityLUTSequence",
    "VOILUTSequence",
    "PresentationLUTSequence",
    "RescaleSlope",
    "RescaleIntercept",
    "PresentationIntentType",
    "QualityControlImage",
}
VALUES = {
    "AE": "STATION",
    "AS": "042Y",
    "CS": "OTHER",
    "DA": "20260102",
    "DS": "1.50",
    "DT": "20260102030405",
    "FD": 2.5,
    "FL": 0.5,
    "IS": "+7",
    "LO": " text ",
    "LT": "text\r\n",
    "OW": b"\1\0\2\0",
    "OB": b"\1\2",
    "PN": "A^B",
    "SH": "short",
    "SL": -3,
    "SS": -2,
    "ST": "text",
    "TM": "030405.5",
    "UC": "text",
    "UI": "1.2.3",
    "UL": 70000,
    "UR": "http://example.org",
    "US": 9,
    "UT": "text",
}


def copied() -> Iterator[tuple[str, DataElement]]:
    for keyword, tag, fate in policy.table():
        if fate is not AttributeAction.COPY or keyword in BOUND:
            continue
        vr, vm = dictionary_VR(tag).split(" or ")[0], dictionary_VM(tag)
        count = int(vm.partition("-")[0]) if vm[0].isdigit() else 1
        if vr == "SQ":
            item = Dataset()
            item.CodeValue, item.CodeMeaning = "T-1", " meaning "
            yield keyword, DataElement(tag, vr, [item])
        else:
            yield keyword, DataElement(tag, vr, VALUES[vr] if count == 1 else [VALUES[vr]] * count)


def test_every_copied_attribute_arrives_as_it_was(tmp_path: Path, reader: DecoderProcess, upscaler: Upscaler) -> None:
    source, elements = image(), dict(copied())
    assert len(elements) > 280
    for element in elements.values():
        source[element.tag] = element
    path, target = save(source, tmp_path / "source.dcm"), tmp_path / "derived.dcm"
    derived = upscale(path, target, reader, upscaler, scale=2)
    for keyword, element in elements.items():
        found = verbatim(derived, element.tag)
        assert found is not None, keyword
    assert [check.name for check in verify(target, path, reader) if not check.passed] == []


def test_every_dropped_attribute_is_gone_and_named(tmp_path: Path, reader: DecoderProcess, upscaler: Upscaler) -> None:
    source = image()
    names = [
        name for name, tag, fate in policy.table() if fate is AttributeAction.DROP and dictionary_VR(tag) in VALUES
    ]
    assert len(names) > 30
    for name in names:
        if name not in ("PlanarConfiguration", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
            setattr(source, name, VALUES[dictionary_VR(Tag(tag_for_keyword(name) or 0))])
    path, target = save(source, tmp_path / "source.dcm"), tmp_path / "derived.dcm"
    derived = upscale(path, target, reader, upscaler, scale=2)
    assert [name for name in names if name in derived] == []
    assert np.array_equal(derived.pixel_array.shape, (128, 128))


def test_what_was_dropped_is_told(tmp_path: Path, reader: DecoderProcess, upscaler: Upscaler) -> None:
    source = image()
    source.GantryID = "G"
    source.add_new(0x00091001, "LO", "private")
    dropped = process(save(source, tmp_path / "a.dcm"), reader, upscaler, scale=2).image.dropped
    assert {"GantryID", "(0009,1001)"} <= set(dropped)
