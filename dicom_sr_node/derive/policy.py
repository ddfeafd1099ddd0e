"""What becomes of each attribute of the source: set, scaled, copied byte for byte, or dropped. The table is closed."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from itertools import chain

from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.tag import BaseTag, Tag

from dicom_sr_node.derive import geometry
from dicom_sr_node.dicom.header import OVERLAY_GROUPS
from dicom_sr_node.dicom.modules import MODULES
from dicom_sr_node.dicom.sop_kinds import KINDS


class AttributeAction(StrEnum):
    """Of an attribute."""

    SET = "set"  # to a value of our own
    SCALE = "scale"  # with the pixels
    COPY = "copy"  # byte for byte
    DROP = "drop"  # not true of the derived image, or of another instance, or of no radiograph


SET = {
    "SOPClassUID": "that of the source",
    "SOPInstanceUID": "2.25, a function of source, pixels, weights, precision, scale and label",
    "StudyInstanceUID": "that of the source",
    "SeriesInstanceUID": "2.25, a function of source series, weights, precision, scale and label",
    "SeriesNumber": "9000 + that of the source",
    "InstanceNumber": "that of the source, empty if it has none",
    "SeriesDescription": "`AI SR x4` (or x2) and the source's, if that is ASCII",
    "Modality": "that of the source; that of its SOP class if it has none",
    "ImageType": r"DERIVED\SECONDARY\\AI_SUPERRES",
    "SeriesDate": "when it was made, in the source's time zone",
    "SeriesTime": "when it was made, in the source's time zone",
    "ContentDate": "when it was made, in the source's time zone",
    "ContentTime": "when it was made, in the source's time zone",
    "InstanceCreationDate": "when it was made, in the source's time zone",
    "InstanceCreationTime": "when it was made, in the source's time zone",
    "Manufacturer": "dicom_sr_node",
    "ManufacturerModelName": "the name of the weights",
    "SoftwareVersions": "version of the software, SHA-256 of the weights",
    "DeviceSerialNumber": "the first 16 digits of the weights' SHA-256",
    "DeviceUID": "2.25, a function of the weights: the identity of the trained model",
    "ContributingEquipmentSequence": "the source's items, its equipment (109101 or 109102), this software (109100)",
    "SourceImageSequence": "the source, purpose 121322, Spatial Locations Preserved NO",
    "ReferencedSeriesSequence": "the source's series and instance",
    "DerivationCodeSequence": "(113085, DCM, Spatial resampling)",
    "DerivationDescription": "software, weights, scale, what is estimated, where the label lies, the source's own text",
    "ContentQualification": "RESEARCH",
    "SyntheticData": "YES",
    "ImageComments": "that detail is estimated and not for primary diagnosis",
    "LossyImageCompression": "that of the source; 01 if its transfer syntax was lossy; else 00 in DX and MG",
    "LossyImageCompressionRatio": "that of the source, or the one found if its transfer syntax was lossy",
    "LossyImageCompressionMethod": "that of the source, or the one found if its transfer syntax was lossy",
    "WindowCenter": "the source's; the first of several",
    "WindowWidth": "the source's; the first of several",
    "WindowCenterWidthExplanation": "the source's; the first of several",
    "SamplesPerPixel": "1",
    "PhotometricInterpretation": "that of the source",
    "Rows": "s times that of the source",
    "Columns": "s times that of the source",
    "BitsAllocated": "that of the source",
    "BitsStored": "that of the source",
    "HighBit": "Bits Stored - 1",
    "PixelRepresentation": "that of the source",
    "SmallestImagePixelValue": "computed, if the source has it",
    "LargestImagePixelValue": "computed, if the source has it",
    "PixelData": "s x s pixels for each of the source",
}

# Of no module of these IODs, yet what a viewer shows or an archive sorts by may rest on them.
ALSO_COPIED = (
    "PresentationLUTSequence",
    "PixelPaddingValue",
    "PatientSpeciesDescription",
    "OtherPatientIDs",
    "RequestedProcedureDescription",
    "RequestedProcedureCodeSequence",
    "RequestedProcedureID",
    "RequestingPhysician",
    "RequestingService",
    "StudyStatusID",
    "StudyComments",
    "ScheduledProcedureStepDescription",
    "InstitutionalDepartmentName",
)

_STATEMENTS_ABOUT_OTHERS = (
    "ReferencedPerformedProcedureStepSequence",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "PerformedProcedureStepEndDate",
    "PerformedProcedureStepEndTime",
    "PerformedProcedureStepID",
    "PerformedProcedureStepDescription",
    "PerformedProtocolCodeSequence",
    "CommentsOnThePerformedProcedureStep",
    "SeriesDescriptionCodeSequence",
    "RelatedSeriesSequence",
    "ReferencedImageSequence",
    "ReferencedInstanceSequence",
    "StudiesContainingOtherReferencedInstancesSequence",
    "SourceInstanceSequence",
    "InstanceCreatorUID",
    "InstanceCoercionDateTime",
    "OriginalSpecializedSOPClassUID",
    "RelatedGeneralSOPClassUID",
    "ConversionSourceAttributesSequence",
    "SOPInstanceStatus",
    "SOPAuthorizationDateTime",
    "SOPAuthorizationComment",
    "AuthorizationEquipmentCertificationNumber",
    "InstanceOriginStatus",
    "QueryRetrieveView",
    "OriginalAttributesSequence",
    "DigitalSignaturesSequence",
    "MACParametersSequence",
    "EncryptedAttributesSequence",
    "PrivateDataElementCharacteristicsSequence",
)
_STATEMENTS_ABOUT_ITS_EQUIPMENT = (
    "StationName",
    "SpatialResolution",
    "GantryID",
    "DateOfManufacture",
    "DateOfInstallation",
    "DateOfLastCalibration",
    "TimeOfLastCalibration",
    "UDISequence",
    "ManufacturerDeviceClassUID",
    "DetectorBinning",
)
_STATEMENTS_ABOUT_ITS_PIXELS = (
    "IconImageSequence",
    "HistogramSequence",
    "SmallestPixelValueInSeries",
    "LargestPixelValueInSeries",
    "RealWorldValueMappingSequence",
    "PlanarConfiguration",
    "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
    "ICCProfile",
    "ColorSpace",
    "PixelDataProviderURL",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
)
DROPPED = (*_STATEMENTS_ABOUT_OTHERS, *_STATEMENTS_ABOUT_ITS_EQUIPMENT, *_STATEMENTS_ABOUT_ITS_PIXELS)


@cache
def _actions(modules: frozenset[str]) -> dict[BaseTag, AttributeAction]:
    """Of every attribute that these IOD modules know; another set where the table of SOP kinds has grown."""
    known = chain(*(MODULES[module] for module in modules))
    by_keyword: dict[str, AttributeAction] = dict.fromkeys([*known, *ALSO_COPIED], AttributeAction.COPY)
    by_keyword |= dict.fromkeys(DROPPED, AttributeAction.DROP)
    by_keyword |= dict.fromkeys(geometry.KEYWORDS, AttributeAction.SCALE)
    by_keyword |= dict.fromkeys(SET, AttributeAction.SET)
    tags = {keyword: tag_for_keyword(keyword) for keyword in by_keyword}
    if unknown := [keyword for keyword, tag in tags.items() if tag is None]:
        raise ValueError(f"not in the data dictionary: {unknown}")
    return {Tag(tag): by_keyword[keyword] for keyword, tag in tags.items() if tag is not None}


def _of_all_kinds() -> dict[BaseTag, AttributeAction]:
    return _actions(frozenset(chain(*(kind.iod_modules for kind in KINDS.values()))))


def action_for(tag: BaseTag) -> AttributeAction:
    """What becomes of an element of the source; what no table names is dropped (private elements among them)."""
    if tag.group in OVERLAY_GROUPS:
        return AttributeAction.SCALE
    return _of_all_kinds().get(tag, AttributeAction.DROP)


def table() -> Iterator[tuple[str, BaseTag, AttributeAction]]:
    """(keyword, tag, action) of every attribute that is named, in the order of tags."""
    actions = _of_all_kinds()
    for tag in sorted(actions):
        yield keyword_for_tag(tag), tag, actions[tag]
