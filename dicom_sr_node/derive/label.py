"""The visible mark on a derived image.

Drawn from a bitmap font that never changes, so that it can be checked bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi

from dicom_sr_node.derive.geometry import pack_bits
from dicom_sr_node.derive.window import windows
from dicom_sr_node.dicom.damage import DAMAGE
from dicom_sr_node.dicom.header import OVERLAY_GROUPS
from dicom_sr_node.pixels.frame import Frame

LONG, SHORT = "AI-ENHANCED x{scale}: DETAIL ESTIMATED, NOT FOR DIAGNOSIS", "AI x{scale}"
OVERLAY_NAME = "AI label"  # Overlay Description
_ROWS_FOR_EACH_ZOOM = 700  # the letters grow with the image
_CANDIDATES = 4096  # stored values that are tried for black and white
_CONTRAST = 0.5  # of the screen's range: between letters and ground, at least

Values = NDArray[Any]
Display = Callable[[Values], Values]


@dataclass(frozen=True)
class Box:
    """Where the label lies: rows and columns of the derived image, 0-based, end excluded; whole s x s blocks."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def area(self) -> tuple[slice, slice]:
        """For indexing."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def __str__(self) -> str:
        return f"rows {self.top + 1}-{self.bottom}, columns {self.left + 1}-{self.right}"


def draw(shape: tuple[int, ...], scale: int, texts: tuple[str, str] = (LONG, SHORT)) -> tuple[Box, NDArray[np.bool_]]:
    """(box, letters within the box) for an image of this shape: at the left of its lower edge.

    The first of the texts that fits, in whole blocks of scale x scale.
    """
    rows, columns = shape
    for text in texts:
        for zoom in range(max(1, rows // _ROWS_FOR_EACH_ZOOM), 0, -1):
            letters = _letters(text.format(scale=scale), zoom)
            height, width = (-(-side // scale) * scale for side in letters.shape)
            if width <= columns and height * 4 <= rows:
                return _placed(letters, height, width, rows)
    return Box(rows, 0, rows, 0), np.zeros((0, 0), np.bool_)  # too small for any letter


def _placed(letters: NDArray[np.bool_], height: int, width: int, rows: int) -> tuple[Box, NDArray[np.bool_]]:
    area = np.zeros((height, width), np.bool_)
    area[: letters.shape[0], : letters.shape[1]] = letters
    return Box(rows - height, 0, rows, width), area


def _letters(text: str, zoom: int) -> NDArray[np.bool_]:
    font = ImageFont.load_default_imagefont()
    left, top, right, bottom = font.getbbox(text)
    picture = Image.new("1", (int(right - left) + 4, int(bottom - top) + 4))
    ImageDraw.Draw(picture).text((2, 2), text, fill=1, font=font)
    return np.repeat(np.repeat(np.asarray(picture, np.bool_), zoom, axis=0), zoom, axis=1)


def burn(pixels: NDArray[Any], scale: int, source: Dataset | None, frame: Frame) -> Box:
    """Write the label into the pixels, white on black as shown; returns where."""
    box, letters = draw((pixels.shape[0], pixels.shape[1]), scale)
    if (
        frame.padding is not None
        and frame.padding[0] <= frame.value_range[0]
        and frame.padding[1] >= frame.value_range[1]
    ):
        return Box(box.bottom, 0, box.bottom, 0)  # every value is padding: nothing can be written that is none
    if letters.size:
        black, white = shades(source, frame)
        pixels[box.area] = np.where(letters, white, black)
    return box


def shades(source: Dataset | None, frame: Frame) -> tuple[int, int]:
    """The stored values that the source's window and VOI LUT show darkest and brightest.

    Of the image's own values, so that a viewer which stretches what it finds shows the same; of all values where the
    image's own all look alike.
    """
    displays = _displays(source)
    dark, bright = frame.measured_range if np.ptp(frame.measured_range) else frame.value_range
    for ends in (frame.measured_range, frame.value_range):
        values = _off_padding(np.unique(np.linspace(*ends, _CANDIDATES).round().astype(np.int64)), frame)
        if values.size < 2:
            continue
        shown = sum((display(values) for display in displays), np.zeros(len(values))) if displays else values
        if not displays or shown.max() - shown.min() >= _CONTRAST * len(displays):
            dark, bright = int(values[shown.argmin()]), int(values[shown.argmax()])
            break
    return (bright, dark) if frame.inverted else (dark, bright)


def _displays(source: Dataset | None) -> list[Display]:
    """What viewers may do with stored values, to [0, 1]: the first window, the first VOI LUT (PS3.3 C.11.2)."""
    if source is None:
        return []
    displays: list[Display] = []
    if pairs := windows(source):
        center, width = pairs[0]
        low = center - 0.5 - (width - 1) / 2
        displays.append(lambda values: np.clip((_modality(source, values) - low) / max(width - 1, 1e-6), 0, 1))
    if source.get("VOILUTSequence"):
        displays.append(lambda values: _by_lut(source, values))
    return [display for display in displays if _works(display)]


def _modality(source: Dataset, values: Values) -> Values:
    return np.asarray(apply_modality_lut(values, source), np.float64)


def _by_lut(source: Dataset, values: Values) -> Values:
    shown = apply_voi(_modality(source, values).astype(np.int64), source, index=0)
    return shown / ((1 << int(source.VOILUTSequence[0].LUTDescriptor[2])) - 1)


def _works(display: Display) -> bool:
    """Whether what the source says can be followed at all."""
    try:
        return bool(np.isfinite(display(np.arange(5))).all())
    except DAMAGE:
        return False


def _off_padding(values: Values, frame: Frame) -> Values:
    if frame.padding is None:
        return values
    return values[(values < frame.padding[0]) | (values > frame.padding[1])]


def overlay(ds: Dataset, scale: int, shape: tuple[int, int]) -> None:
    """Add the label as a graphic overlay plane (PS3.3 C.9.2) in the first free group; viewers can hide it."""
    free = next((group for group in OVERLAY_GROUPS if (group, 0x0010) not in ds), None)
    box, letters = draw(shape, scale)
    if free is None or not letters.size or box.top >= 1 << 15:  # Overlay Origin is a signed short
        return
    ds.add_new((free, 0x0010), "US", letters.shape[0])
    ds.add_new((free, 0x0011), "US", letters.shape[1])
    ds.add_new((free, 0x0022), "LO", OVERLAY_NAME)
    ds.add_new((free, 0x0040), "CS", "G")
    ds.add_new((free, 0x0045), "LO", "AUTOMATED")
    ds.add_new((free, 0x0050), "SS", [box.top + 1, box.left + 1])
    ds.add_new((free, 0x0100), "US", 1)
    ds.add_new((free, 0x0102), "US", 0)
    ds.add_new((free, 0x3000), "OW", pack_bits(letters))
