"""What was added and where: a colour picture (Secondary Capture) on the source, at its size.

Added is what lies between the result and the consistent interpolation of the source.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import highdicom
import numpy as np
from highdicom.sc import SCImage
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from dicom_sr_node.derive import geometry, identity, label
from dicom_sr_node.derive.companion import accompany, reference
from dicom_sr_node.derive.identity import Algorithm
from dicom_sr_node.derive.image import modality_of
from dicom_sr_node.dicom import software
from dicom_sr_node.dicom.header import first
from dicom_sr_node.pixels.frame import Frame
from dicom_sr_node.quality import Quality

FULL_SHARE = 0.02  # of the image's contrast: as much added detail has the full colour
COLOUR = (255, 80, 0)
_TEXTS = ("HEAT MAP OF DETAIL ADDED BY AI, NOT FOR DIAGNOSIS", "HEAT MAP")


def heat_map(
    source: Dataset, frame: Frame, quality: Quality, algorithm: Algorithm, now: datetime, remark: str = ""
) -> SCImage:
    """RGB (H, W, 3): the source in grey, coloured by the root mean square of what was added to each pixel's block."""
    pixels = paint(source, frame, quality)
    full = quality.detail.width * FULL_SHARE
    image = SCImage(
        pixel_array=pixels,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        study_instance_uid=source.StudyInstanceUID,
        series_instance_uid=identity.companion_uid(source, algorithm, "heat map series", str(source.SeriesInstanceUID)),
        series_number=identity.series_number(source) + identity.SERIES_NUMBER_OFFSET,
        sop_instance_uid=identity.companion_uid(
            source, algorithm, "heat map", str(source.SOPInstanceUID), identity.whose(source), frame.sha256
        ),
        instance_number=1,
        manufacturer=software.NAME,
        patient_orientation=("L", "F"),  # made the source's own below
        transfer_syntax_uid=ExplicitVRLittleEndian,
        content_qualification=highdicom.ContentQualificationValues.RESEARCH,
        series_description=f"AI SR x{algorithm.scale} heat map of added detail",
    )
    accompany(image, source, algorithm, now)
    image["PixelData"].VR = "OB"
    image.ImageType = ["DERIVED", "SECONDARY", "", "AI_HEATMAP"]
    image.Modality = modality_of(source)
    image.PatientOrientation = source.get("PatientOrientation") or None
    image.Laterality = first(source, "Laterality")  # type 2C: empty when unknown
    image.DerivationDescription = (
        f"Root mean square of (result - consistent interpolation) in each {algorithm.scale}x{algorithm.scale} block, "
        f"full colour at {full:.1f} stored values ({100 * FULL_SHARE:g} % of the image's contrast). "
        f"{quality.sentence}. "
        f"{algorithm.model} {algorithm.version} (weights sha256 {algorithm.sha256})"
    )[:1024]
    image.ImageComments = f"HEAT MAP of detail added by AI. Not for diagnosis. {remark}".strip()
    image.SourceImageSequence = [reference(source)]
    image.update(geometry.scaled(_spacings(source), 1))
    return image


def paint(source: Dataset, frame: Frame, quality: Quality) -> NDArray[np.uint8]:
    """(H, W, 3)."""
    black, white = label.shades(source, frame)
    grey = np.clip((frame.values.astype(np.float32) - black) / (white - black or 1), 0, 1)
    strength = np.clip(quality.detail.blocks / (quality.detail.width * FULL_SHARE), 0, 1)
    painted = grey[..., None] * 255 * (1 - strength[..., None]) + np.array(COLOUR) * strength[..., None]
    pixels: NDArray[Any] = painted.round().astype(np.uint8)
    box, letters = label.draw(frame.values.shape, 1, _TEXTS)
    if letters.size:
        pixels[box.area] = np.where(letters, 255, 0)[..., None]
    return pixels


def _spacings(source: Dataset) -> Dataset:
    """Nominal Scanned Pixel Spacing is what a Secondary Capture has; the source's, whatever it was called there."""
    known = next((source[keyword].value for keyword in geometry.SPACINGS if source.get(keyword)), None)
    spacings = Dataset()
    if known is not None:
        spacings.NominalScannedPixelSpacing = known
    return spacings
