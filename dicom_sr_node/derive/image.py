"""The derived image: an object of the source's own SOP class, in the same study, in a series of its own.

Stored pixel values stay in the source's value domain, so its grey-scale modules (window, VOI LUT, modality LUT,
shape) are copied verbatim. Section numbers are of PS3.3.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import highdicom
from highdicom.base import SOPClass
from numpy.typing import NDArray
from pydicom import DataElement, Dataset
from pydicom.config import RAISE
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.filewriter import correct_ambiguous_vr
from pydicom.sr.codedict import codes
from pydicom.uid import (
    JPEG2000,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
)
from pydicom.valuerep import DSfloat, validate_value

from dicom_sr_node import __version__
from dicom_sr_node.derive import geometry, identity, label, policy, window
from dicom_sr_node.derive.companion import reference
from dicom_sr_node.derive.identity import Algorithm
from dicom_sr_node.derive.policy import AttributeAction
from dicom_sr_node.dicom import software
from dicom_sr_node.dicom.elements import pixel_data, text_of, verbatim
from dicom_sr_node.dicom.header import first
from dicom_sr_node.dicom.sop_kinds import kind_of
from dicom_sr_node.pixels.frame import Frame

LOSSY_METHODS = {  # C.7.6.1.1.5.1
    JPEGBaseline8Bit: "ISO_10918_1",
    JPEGExtended12Bit: "ISO_10918_1",
    JPEGLSNearLossless: "ISO_14495_1",
    JPEG2000: "ISO_15444_1",
}
_LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
_EQUIPMENT = (  # of the Contributing Equipment macro, C.12.1.1.5
    "Manufacturer",
    "InstitutionName",
    "InstitutionAddress",
    "StationName",
    "InstitutionalDepartmentName",
    "ManufacturerModelName",
    "DeviceSerialNumber",
    "SoftwareVersions",
    "SpatialResolution",
    "DateOfLastCalibration",
    "TimeOfLastCalibration",
)


class DerivedImage(SOPClass):
    """A CR, DX or MG image made from another one.

    source: the header of the image it is made from, with its file meta information. frame: its pixels. pixels:
    (s*H, s*W), the values to store, before any label. now: aware. remark: one more sentence for Image Comments.
    The label is drawn here, so that the object is complete.
    """

    def __init__(
        self,
        source: Dataset,
        frame: Frame,
        pixels: NDArray[Any],
        *,
        algorithm: Algorithm,
        now: datetime,
        remark: str = "",
    ) -> None:
        super().__init__(
            study_instance_uid=source.StudyInstanceUID,
            series_instance_uid=identity.series_instance_uid(source, algorithm),
            series_number=identity.series_number(source),
            sop_instance_uid=identity.sop_instance_uid(source, frame, algorithm),
            sop_class_uid=source.SOPClassUID,
            instance_number=1,  # made the source's own below
            modality=modality_of(source),
            manufacturer=software.NAME,
            manufacturer_model_name=algorithm.model[:64],
            device_serial_number=algorithm.sha256[:16],
            transfer_syntax_uid=ExplicitVRLittleEndian,
            content_qualification=highdicom.ContentQualificationValues.RESEARCH,  # C.8.13.2.1.1
            series_description=identity.series_description(source, algorithm),
        )
        self.file_meta = software.file_meta(self.SOPClassUID, self.SOPInstanceUID, ExplicitVRLittleEndian)
        pixels = pixels.copy()
        where = self._draw_label(source, frame, pixels, algorithm)
        self._set_pixel_cells(source, frame)
        self.dropped = self._copy(source)
        self.update(window.single(source))
        identity.set_times(self, source, now)
        self._set_equipment(source, algorithm)
        self._set_derivation(source, algorithm, where, remark)
        self._set_lossy_history(source, frame)
        self.update(geometry.scaled(source, algorithm.scale, frame.overlays))
        self._set_pixels(source, pixels)
        if algorithm.label == "overlay":
            label.overlay(self, algorithm.scale, pixels.shape)

    def _draw_label(self, source: Dataset, frame: Frame, pixels: NDArray[Any], algorithm: Algorithm) -> str:
        if algorithm.label != "burned":
            return ""
        box = label.burn(pixels, algorithm.scale, source, frame)
        return f"Label burned into {box}." if box.bottom > box.top else ""

    def _copy(self, source: Dataset) -> tuple[str, ...]:
        """Everything that the policy copies; returns the names of what it drops.

        Text stays byte for byte in its character set.
        """
        dropped = []
        for tag in source.keys():  # noqa: SIM118 - iterating a Dataset decodes its elements
            fate = policy.action_for(tag)
            if fate is AttributeAction.COPY and (element := verbatim(source, tag)) is not None:
                self[tag] = element
            elif fate in (AttributeAction.COPY, AttributeAction.DROP):
                dropped.append(keyword_for_tag(tag) or str(tag))
        if "InstanceNumber" in source and (number := verbatim(source, "InstanceNumber")) is not None:
            self["InstanceNumber"] = number
        else:
            self.InstanceNumber = None  # type 2: unknown stays unknown
        correct_ambiguous_vr(self, is_little_endian=True)
        self.set_original_encoding(False, True, source.original_character_set)  # else text would be written anew
        return tuple(dropped)

    def _set_equipment(self, source: Dataset, algorithm: Algorithm) -> None:
        """General Equipment is this node (C.7.5.1).

        The chain of those before it is in Contributing Equipment (C.12.1.1.5).
        """
        self.SoftwareVersions = [__version__, algorithm.sha256]
        self.DeviceUID = identity.device_uid(algorithm)
        equipment = highdicom.ContributingEquipment(
            manufacturer=software.NAME,
            purpose_of_reference=codes.DCM.SynthesizingEquipment,
            manufacturer_model_name=algorithm.model[:64],
            software_versions=(__version__, algorithm.version),
            contribution_description=f"AI super-resolution x{algorithm.scale}; weights sha256 {algorithm.sha256}",
        )
        equipment.DeviceUID = identity.device_uid(algorithm)
        known = verbatim(source, "ContributingEquipmentSequence")
        before = list(known.value or ()) if known is not None else []
        self.ContributingEquipmentSequence = [*before, _source_device(source, bool(before)), equipment]

    def _set_derivation(self, source: Dataset, algorithm: Algorithm, where_labelled: str, remark: str) -> None:
        self.ImageType = ["DERIVED", "SECONDARY", "", software.IMAGE_TYPE]  # C.8.11.3.1.1: value 3 is empty in DX
        self.SyntheticData = "YES"
        self.ImageComments = f"{identity.image_comments(algorithm)} {remark}".strip()
        self.DerivationDescription = identity.derivation_description(source, algorithm, where_labelled)
        self.DerivationCodeSequence = [highdicom.sr.CodedConcept("113085", "DCM", "Spatial resampling")]
        origin = reference(source)
        origin.PurposeOfReferenceCodeSequence = [
            highdicom.sr.CodedConcept("121322", "DCM", "Source image for image processing operation")
        ]
        origin.SpatialLocationsPreserved = "NO"  # C.12.4: a magnified projection does not preserve them
        self.SourceImageSequence = [origin]
        series = Dataset()
        series.SeriesInstanceUID = source.SeriesInstanceUID
        series.ReferencedInstanceSequence = [reference(source)]
        self.ReferencedSeriesSequence = [series]

    def _set_lossy_history(self, source: Dataset, frame: Frame) -> None:
        """Once lossy, always lossy (C.7.6.1.1.5).

        A header that is silent about a lossy transfer syntax is corrected.
        """
        method = LOSSY_METHODS.get(source.file_meta.TransferSyntaxUID)
        if method is not None and str(source.get("LossyImageCompression") or "") != "01":
            ratio = frame.values.nbytes / max(1, frame.encoded_bytes)
            self.LossyImageCompression = "01"
            self.LossyImageCompressionRatio = DSfloat(round(ratio, 2), auto_format=True)
            self.LossyImageCompressionMethod = method
            return
        for keyword in _LOSSY:
            if keyword in source and (element := verbatim(source, keyword)) is not None:
                self[keyword] = element
        kind = kind_of(source.SOPClassUID)
        if "LossyImageCompression" not in self and kind is not None and kind.lossy_default:
            self.LossyImageCompression = kind.lossy_default

    def _set_pixel_cells(self, source: Dataset, frame: Frame) -> None:
        """Image Pixel (C.7.6.3): the source's own bit depth and photometric interpretation."""
        self.SamplesPerPixel = 1
        self.PhotometricInterpretation = "MONOCHROME1" if frame.inverted else "MONOCHROME2"
        self.BitsAllocated = 8 * frame.values.dtype.itemsize
        self.BitsStored = (frame.value_range[1] - frame.value_range[0]).bit_length()
        self.HighBit = self.BitsStored - 1
        self.PixelRepresentation = int(frame.value_range[0] < 0)

    def _set_pixels(self, source: Dataset, pixels: NDArray[Any]) -> None:
        self.Rows, self.Columns = pixels.shape
        vr = "SS" if self.PixelRepresentation else "US"
        for keyword, value in (("SmallestImagePixelValue", pixels.min()), ("LargestImagePixelValue", pixels.max())):
            if keyword in source:
                self[keyword] = DataElement(keyword, vr, int(value))
        self.add(pixel_data(pixels))


def modality_of(source: Dataset) -> str:
    """The source's, or that of its class where it has none."""
    kind = kind_of(source.SOPClassUID)
    return first(source, "Modality").strip()[:16] or (kind.modality if kind else "OT")


def _source_device(source: Dataset, processed_before: bool) -> highdicom.ContributingEquipment:
    """The equipment that made the source: what of its words is valid and ASCII."""
    purpose = codes.DCM.ProcessingEquipment if processed_before else codes.DCM.AcquisitionEquipment
    item = highdicom.ContributingEquipment(
        manufacturer="unknown",
        purpose_of_reference=purpose,
        contribution_description="Equipment that made the source image",
    )
    for keyword in _EQUIPMENT:
        text = text_of(source, keyword)
        if text and _is_valid(dictionary_VR(keyword), text):
            setattr(item, keyword, text)
    date, time = text_of(source, "AcquisitionDate"), text_of(source, "AcquisitionTime")
    if _is_valid("DA", date):
        item.ContributionDateTime = date + (time if _is_valid("TM", time) and len(time) >= 6 else "")
    return item


def _is_valid(vr: str, text: str) -> bool:
    """One value of this VR, in the default repertoire (PS3.5 6.2)."""
    if not text.isascii() or not text.isprintable() or "\\" in text:
        return False
    try:
        validate_value(vr, text, RAISE)
        if vr == "DA":
            datetime.strptime(text, "%Y%m%d")  # noqa: DTZ007 - a date alone
    except ValueError:
        return False
    return bool(text)
