"""What changes when each pixel becomes s x s: spacings, edges, overlays. The physical extent of the image stays.

Pixel coordinates are 1-based and name pixel centres (PS3.3 C.7.6.11).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.multival import MultiValue
from pydicom.valuerep import DSfloat

from dicom_sr_node.dicom import header
from dicom_sr_node.dicom.elements import text_of, verbatim
from dicom_sr_node.dicom.header import OVERLAY_GROUPS

SPACINGS = ("ImagerPixelSpacing", "PixelSpacing", "NominalScannedPixelSpacing")  # mm, row then column
CALIBRATION = ("PixelSpacingCalibrationType", "PixelSpacingCalibrationDescription")

_FIRST_EDGES = (
    "ShutterLeftVerticalEdge",
    "ShutterUpperHorizontalEdge",
    "CollimatorLeftVerticalEdge",
    "CollimatorUpperHorizontalEdge",
)
_LAST_EDGES = (
    "ShutterRightVerticalEdge",
    "ShutterLowerHorizontalEdge",
    "CollimatorRightVerticalEdge",
    "CollimatorLowerHorizontalEdge",
)
_POINTS = (
    "CenterOfCircularShutter",
    "VerticesOfThePolygonalShutter",
    "CenterOfCircularCollimator",
    "VerticesOfThePolygonalCollimator",
)
_RADII = ("RadiusOfCircularShutter", "RadiusOfCircularCollimator")

_EDGE_RULES: dict[str, Callable[[int, int], int]] = {
    **dict.fromkeys(_FIRST_EDGES, lambda value, s: s * (value - 1) + 1),
    **dict.fromkeys(_LAST_EDGES, lambda value, s: s * value),
    **dict.fromkeys(_POINTS, lambda value, s: round(s * (value - 0.5) + 0.5)),
    **dict.fromkeys(_RADII, lambda value, s: s * value),
}

_FARTHEST = (1 << 31) - 1  # of an Integer String
_LARGEST = 4  # times the image that an overlay plane may be
_LONGEST, _LOWEST, _HIGHEST = (1 << 16) - 1, -(1 << 15), (1 << 15) - 1  # of US and SS
KEYWORDS = (*SPACINGS, *CALIBRATION, *_EDGE_RULES)


def scaled(source: Dataset, scale: int, embedded: Mapping[int, NDArray[np.bool_]] | None = None) -> Dataset:
    """The geometry elements of a derived image; what is absent or unusable in the source is absent here.

    embedded: overlay planes (H, W) that lie in unused bits of the source's pixels, by group.
    """
    result = Dataset()
    for keyword in SPACINGS:
        if (spacing := _spacing(text_of(source, keyword))) is not None:
            setattr(result, keyword, [DSfloat(value / scale, auto_format=True) for value in spacing])
    if "PixelSpacing" in result:
        for keyword in CALIBRATION:
            if keyword in source and (element := verbatim(source, keyword)) is not None:
                result[keyword] = element
    for keyword, rule in _EDGE_RULES.items():
        if numbers := _numbers(text_of(source, keyword)):
            moved = [max(-_FARTHEST, min(rule(round(number), scale), _FARTHEST)) for number in numbers]
            setattr(result, keyword, moved if len(moved) > 1 else moved[0])
    for group in OVERLAY_GROUPS:
        for element in _overlay(source, group, scale, (embedded or {}).get(group)):
            result[element.tag] = element
    return result


def _spacing(text: str) -> tuple[float, float] | None:
    """Row and column spacing in mm, or None if it is absent, zero, negative or no number.

    Such a spacing says nothing.
    """
    numbers = _numbers(text)
    if len(numbers) != 2 or not all(number > 0 for number in numbers):
        return None
    return numbers[0], numbers[1]


def _numbers(text: str) -> list[float]:
    """All values of an element, or none if any is no number."""
    try:
        numbers = [float(part) for part in text.split("\\")]
    except ValueError:
        return []
    return numbers if all(map(math.isfinite, numbers)) else []


def _overlay(
    source: Dataset, group: int, scale: int, embedded: NDArray[np.bool_] | None
) -> Iterator[DataElement | RawDataElement]:
    """One overlay plane (PS3.3 C.9.2), each bit repeated s x s; a retired one inside the pixels becomes a plane.

    One that would be larger or farther away than its elements can say lies outside of any image and ends here.
    """
    plane = _plane(source, group) if embedded is None else embedded.astype(np.uint8)
    if plane is None or max(plane.shape) * scale > _LONGEST:
        return
    origin = [scale * (coordinate - 1) + 1 for coordinate in _origin(source, group)]
    if any(not _LOWEST <= number <= _HIGHEST for number in origin):
        return
    enlarged = np.repeat(np.repeat(plane, scale, axis=0), scale, axis=1)
    replaced = {
        0x0010: ("US", enlarged.shape[0]),
        0x0011: ("US", enlarged.shape[1]),
        0x0100: ("US", 1),
        0x0102: ("US", 0),
        0x3000: ("OW", pack_bits(enlarged)),
    }
    if origin:
        replaced[0x0050] = ("SS", origin)
    dropped = (0x1301, 0x1302, 0x1303)  # ROI area, mean and deviation: statistics of the source's pixels
    for tag in source.keys():  # noqa: SIM118 - iterating a Dataset decodes its elements
        kept = tag.group == group and tag.element not in (*replaced, *dropped, 0x0000)
        if kept and (element := verbatim(source, tag)) is not None:
            yield element
    for number, (vr, value) in replaced.items():
        yield DataElement((group, number), vr, value)


def _origin(source: Dataset, group: int) -> list[int]:
    """Overlay Origin as whole numbers; none where it says nothing usable."""
    start = source.get((group, 0x0050))
    places = [] if start is None else start.value if isinstance(start.value, MultiValue | list) else [start.value]
    return [c for c in places if isinstance(c, int)] if all(isinstance(p, int) for p in places) else []


def _plane(source: Dataset, group: int) -> NDArray[np.uint8] | None:
    """(rows, columns) of 0 and 1; None if there is no whole plane."""
    height, width = (header.number(source, (group, element)) for element in (0x0010, 0x0011))
    data = source.get((group, 0x3000))
    if height < 1 or width < 1 or data is None or not isinstance(data.value, bytes):
        return None
    rows, columns = header.number(source, "Rows", height), header.number(source, "Columns", width)
    if height * width > _LARGEST * rows * columns:
        return None
    needed = data.value[: -(-height * width // 8)]
    bits = np.unpackbits(np.frombuffer(needed, np.uint8), bitorder="little")
    return bits[: height * width].reshape(height, width) if len(bits) >= height * width else None


def pack_bits(plane: np.ndarray) -> bytes:
    """(H, W) of 0 and 1 -> Overlay Data, padded to even length (PS3.5 8.1.2)."""
    packed = np.packbits(plane.astype(np.uint8).ravel(), bitorder="little").tobytes()
    return packed + b"\0" * (len(packed) % 2)
