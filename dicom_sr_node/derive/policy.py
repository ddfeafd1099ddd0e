"""What becomes of each attribute of the source: set by us, scaled, dropped; all others are copied byte for byte."""

from __future__ import annotations

from pydicom.datadict import tag_for_keyword
from pydicom.tag import BaseTag, Tag

from dicom_sr_node.derive import geometry

# Set fresh by `derive.image`.
SET = [
    "SOPInstanceUID",
    "SOPClassUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "ImageType",
    "SeriesDate",
    "SeriesTime",
    "ContentDate",
    "ContentTime",
    "InstanceCreationDate",
    "InstanceCreationTime",
    "Manufacturer",
    "ManufacturerModelName",
    "SoftwareVersions",
    "DeviceSerialNumber",
    "StationName",
    "DeviceUID",
    "ContributingEquipmentSequence",
    "SourceImageSequence",
    "DerivationCodeSequence",
    "DerivationDescription",
    "ReferencedSeriesSequence",
    "ContentQualification",
    "SyntheticData",
    "ImageComments",
    "Rows",
    "Columns",
    "PixelData",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "SmallestImagePixelValue",
    "LargestImagePixelValue",
]

# Not true of the derived image, or of another instance.
DROP = [
    "ReferencedPerformedProcedureStepSequence",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "PerformedProcedureStepEndDate",
    "PerformedProcedureStepEndTime",
    "PerformedProcedureStepStatus",
    "PerformedProcedureStepID",
    "PerformedProcedureStepDescription",
    "PerformedProcedureTypeDescription",
    "PerformedProtocolCodeSequence",
    "CommentsOnThePerformedProcedureStep",
    "PerformedStationAETitle",
    "PerformedStationName",
    "PerformedLocation",
    "SeriesDescriptionCodeSequence",
    "RelatedSeriesSequence",
    "ReferencedImageSequence",
    "ReferencedInstanceSequence",
    "IconImageSequence",
    "HistogramSequence",
    "SmallestPixelValueInSeries",
    "LargestPixelValueInSeries",
    "RealWorldValueMappingSequence",
    "DigitalSignaturesSequence",
    "MACParametersSequence",
    "EncryptedAttributesSequence",
    "OriginalAttributesSequence",
    "InstanceCoercionDateTime",
    "ConversionSourceAttributesSequence",
    "SOPInstanceStatus",
    "SOPAuthorizationDateTime",
    "SOPAuthorizationComment",
    "AuthorizationEquipmentCertificationNumber",
    "InstanceCreatorUID",
    "DetectorBinning",
    "SpatialResolution",
    "GantryID",
    "DateOfLastCalibration",
    "TimeOfLastCalibration",
    "DataSetTrailingPadding",
    "PixelDataProviderURL",
    "FloatPixelData",
    "DoubleFloatPixelData",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "NumberOfFrames",
    "PlanarConfiguration",
]


def _tags(keywords: list[str]) -> frozenset[BaseTag]:
    found = {keyword: tag_for_keyword(keyword) for keyword in keywords}
    unknown = [keyword for keyword, tag in found.items() if tag is None]
    if unknown:
        raise ValueError(f"not in the data dictionary: {unknown}")
    return frozenset(Tag(tag) for tag in found.values() if tag is not None)


_NOT_COPIED = _tags(SET) | _tags(DROP)
_GROUPS_NOT_COPIED = (0x0002, 0x7FE0)


def is_copied(tag: BaseTag) -> bool:
    """Whether an element of the source goes into the derived image as it is."""
    if (
        tag.is_private or tag.group in _GROUPS_NOT_COPIED or geometry.is_scaled(tag) or tag.element == 0
    ):  # group lengths are retired
        return False
    return tag not in _NOT_COPIED
