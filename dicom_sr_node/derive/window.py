"""One window for each derived image.

Of several pairs of Window Center and Window Width, Orthanc's web viewer takes none and makes one of its own, far too
hard (measured); one alone is shown rightly. So the first usable pair of the source is kept, with the digits it was
written in (PS3.3 C.11.2.1.2).
"""

from __future__ import annotations

import math

from pydicom import DataElement, Dataset

from dicom_sr_node.dicom.elements import text_of, verbatim

KEYWORDS = ("WindowCenter", "WindowWidth", "WindowCenterWidthExplanation")


def windows(source: Dataset) -> list[tuple[float, float]]:
    """Every usable (center, width) of the source, in its order."""
    return [pair for pair in _pairs(source) if _is_usable(*pair)]


def single(source: Dataset) -> Dataset:
    """The window elements of a derived image: the source's as they are, unless they hold several pairs."""
    result = Dataset()
    texts = {keyword: text_of(source, keyword) for keyword in KEYWORDS}
    several = max(texts[keyword].count("\\") for keyword in KEYWORDS[:2]) > 0
    index = next((number for number, pair in enumerate(_pairs(source)) if _is_usable(*pair)), 0)
    for keyword in KEYWORDS:
        if keyword not in source:
            continue
        if not several:
            if (element := verbatim(source, keyword)) is not None:
                result[keyword] = element
            continue
        parts = texts[keyword].split("\\")
        if index < len(parts) and parts[index].strip().isascii() and parts[index].strip():
            result[keyword] = DataElement(keyword, "LO" if keyword == KEYWORDS[2] else "DS", parts[index].strip())
    return result


def _pairs(source: Dataset) -> list[tuple[float, float]]:
    centers, widths = (_numbers(text_of(source, keyword)) for keyword in KEYWORDS[:2])
    return list(zip(centers, widths, strict=False))


def _is_usable(center: float, width: float) -> bool:
    return math.isfinite(center) and width > 0


def _numbers(text: str) -> list[float]:
    """NaN for what is no number."""
    numbers = []
    for part in text.split("\\"):
        try:
            numbers.append(float(part))
        except ValueError:
            numbers.append(math.nan)
    return numbers
