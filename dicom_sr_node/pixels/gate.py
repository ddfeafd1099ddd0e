"""May this image be upscaled? Each reason is one sentence that a PACS administrator understands."""

from __future__ import annotations

from pydicom import Dataset
from pydicom.uid import ComputedRadiographyImageStorage, DigitalXRayImageStorageForPresentation

from dicom_sr_node.errors import Skipped
from dicom_sr_node.settings import Model

RADIOGRAPHS = (ComputedRadiographyImageStorage, DigitalXRayImageStorageForPresentation)
OUR_IMAGE_TYPE = "AI_SUPERRES"  # value 4 of Image Type in everything this node makes
SMALLEST_SIDE = 16  # pixels; below, a block has nothing around it to learn from
LARGEST_SIDE = 65535  # Rows and Columns are unsigned short


def admit(ds: Dataset) -> None:
    """Raises Skipped with the reason."""
    if ds.get("SOPClassUID") not in RADIOGRAPHS:
        raise Skipped("not a radiograph: only CR and DX for presentation are upscaled")
    image_type = [str(value) for value in ds.get("ImageType") or ()]
    if OUR_IMAGE_TYPE in image_type:
        raise Skipped("already upscaled: its Image Type says AI_SUPERRES")
    if str(ds.get("PresentationIntentType") or "") == "FOR PROCESSING":
        raise Skipped("for processing: only images for presentation are upscaled")
    if "EncryptedAttributesSequence" in ds:
        raise Skipped("encrypted: parts of the header cannot be read")
    if int(ds.get("NumberOfFrames") or 1) != 1:
        raise Skipped("multi-frame: only single images are upscaled")
    if ds.get("SamplesPerPixel", 1) != 1 or ds.get("PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2"):
        raise Skipped("colour: only MONOCHROME1 and MONOCHROME2 are upscaled")
    if str(ds.get("QualityControlImage") or "") == "YES":
        raise Skipped("quality control image")
    if min(int(ds.get("Rows") or 0), int(ds.get("Columns") or 0)) < SMALLEST_SIDE:
        raise Skipped(f"too small: less than {SMALLEST_SIDE} pixels on a side")


def scale_for(rows: int, columns: int, model: Model, served: tuple[int, ...]) -> int:
    """The scale for an image of this size: the configured one, or with `auto` the largest within the cap.

    Raises Skipped.
    """
    wanted = served if model.scale == "auto" else (model.scale,)
    for scale in wanted:
        megapixels = rows * columns * scale**2 / 1e6
        if megapixels <= model.max_output_megapixels and max(rows, columns) * scale <= LARGEST_SIDE:
            return scale
    smallest = wanted[-1]
    raise Skipped(
        f"too large: {columns}x{rows} at x{smallest} is {rows * columns * smallest**2 / 1e6:.0f} megapixels, "
        f"the cap is {model.max_output_megapixels:g} (model.max_output_megapixels)"
    )
