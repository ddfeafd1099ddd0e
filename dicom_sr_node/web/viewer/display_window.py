"""The windows that an image can be looked at with, in the units of its modality (PS3.3 C.11.2.1.2), for a browser."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom import Dataset

from dicom_sr_node.derive import label
from dicom_sr_node.derive.window import windows
from dicom_sr_node.dicom.elements import text_of
from dicom_sr_node.pixels.frame import Frame

_MOST_WINDOWS, _MOST_TEXT = 10, 40
_TAILS = (0.5, 99.5)  # percentiles between which the image's own values are shown
_FLAT = 0.05  # less of black to white than this is no contrast


@dataclass(frozen=True)
class DisplayWindow:
    """One of them: name, center and width in units of the modality."""

    name: str
    center: float
    width: float


@dataclass(frozen=True)
class DisplayWindows:
    """slope, intercept: from stored values to those units.

    The first way is taken; `note` says why, if it is not the header's.
    """

    slope: float
    intercept: float
    inverted: bool
    ways: tuple[DisplayWindow, ...]
    note: str = ""


def display_windows(source: Dataset, frame: Frame) -> DisplayWindows:
    """Of a source; its results have the same values, and are shown alike."""
    slope, intercept = _rescale(source)
    names = text_of(source, "WindowCenterWidthExplanation").split("\\")
    of_header = [
        DisplayWindow(_name(names, number, center, width), center, width)
        for number, (center, width) in enumerate(windows(source)[:_MOST_WINDOWS])
    ]
    if not of_header and source.get("VOILUTSequence"):
        black, white = label.shades(source, frame)
        of_header = [_between("VOI LUT, by its ends", *sorted(slope * v + intercept for v in (black, white)))]
    real = frame.values[~frame.is_padding]
    low, high = np.percentile(real if real.size else frame.values, _TAILS)
    own = _between("the image's own values", *sorted((slope * low + intercept, slope * high + intercept)))
    if of_header and _contrast(of_header[0], *(slope * v + intercept for v in (low, high))) < _FLAT:
        note = f"The header's window ({of_header[0].center:g}/{of_header[0].width:g}) shows no contrast in this image."
        return DisplayWindows(slope, intercept, frame.inverted, (own, *of_header), note)
    return DisplayWindows(slope, intercept, frame.inverted, (*of_header, own))


def _rescale(source: Dataset) -> tuple[float, float]:
    """1, 0 with a Modality LUT: that is no line."""
    try:
        slope, intercept = (float(source.get(key) or 0) for key in ("RescaleSlope", "RescaleIntercept"))
    except (TypeError, ValueError):
        return 1.0, 0.0
    usable = slope and np.isfinite([slope, intercept]).all() and not source.get("ModalityLUTSequence")
    return (slope, intercept) if usable else (1.0, 0.0)


def _name(names: list[str], number: int, center: float, width: float) -> str:
    given = "".join(c for c in names[number] if c.isprintable()).strip() if number < len(names) else ""
    return f"{given or 'window'} {center:g}/{width:g}"[:_MOST_TEXT]


def _between(name: str, low: float, high: float) -> DisplayWindow:
    return DisplayWindow(name, round((low + high + 1) / 2, 3), round(max(high - low + 1, 2), 3))


def _contrast(way: DisplayWindow, low: float, high: float) -> float:
    """How far apart two values are shown, as a share of black to white."""
    start, span = way.center - 0.5 - (way.width - 1) / 2, max(way.width - 1, 1e-6)
    dark, bright = (min(1.0, max(0.0, (value - start) / span)) for value in (low, high))
    return abs(bright - dark)
