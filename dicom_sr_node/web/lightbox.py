"""Pixels for people: the original, a result, and what was added, as planes that a browser can window."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dicom_sr_node.derive import label
from dicom_sr_node.derive.heat_map import FULL_SHARE
from dicom_sr_node.pixels import header
from dicom_sr_node.pixels.frame import Frame
from dicom_sr_node.pixels.reader import Reader
from dicom_sr_node.quality import detail_of
from dicom_sr_node.settings import Work
from dicom_sr_node.verify import Check, verify

What = Literal["source", "result", "added"]
LONGEST_SIDE = 2048  # of a plane, unless the whole of it is asked for
_KEPT = 6  # planes in memory


@dataclass(frozen=True)
class Plane:
    """(H, W) little-endian uint16: value - offset. black, white: the values that the window shows darkest, brightest.

    factor: each value is the mean of so many by so many pixels. added: 0 to 1000, of the full colour of a heat map.
    """

    values: NDArray[np.uint16]
    offset: int
    black: int
    white: int
    factor: int


class Lightbox:
    """Looks at one image at a time; foreign files are decoded in a process of their own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reader = Reader(Work())
        self._planes: OrderedDict[tuple[object, ...], Plane] = OrderedDict()

    def close(self) -> None:
        """End the process that decodes."""
        self._reader.close()

    def plane(self, what: What, source: Path, result: Path | None, *, whole: bool = False) -> Plane:
        """`result` is needed for all but the source. Raises Unreadable, Undecodable, DecoderDied, OSError."""
        key = (what, source.name, result and result.name, whole)
        with self._lock:
            if key in self._planes:
                self._planes.move_to_end(key)
                return self._planes[key]
            made = self._make(what, source, result, whole)
            self._planes[key] = made
            while len(self._planes) > _KEPT:
                self._planes.popitem(last=False)
            return made

    def verify(self, derived: Path, source: Path) -> list[Check]:
        """Each promise held against the two files. Raises Unreadable, OSError."""
        with self._lock:
            return verify(derived, source, self._reader)

    def _make(self, what: What, source: Path, result: Path | None, whole: bool) -> Plane:
        original = self._reader.frame(source)
        if what == "added" and result is not None:
            detail = detail_of(self._reader.frame(result).values, original)
            strength = np.clip(detail.blocks / (detail.width * FULL_SHARE or 1), 0, 1)
            values, factor = _reduced((strength * 1000).astype(np.float32), whole)
            return Plane(values.round().astype("<u2"), 0, 0, 1000, factor)
        frame = self._reader.frame(result) if what == "result" and result is not None else original
        with header.usable():
            black, white = label.shades(header.read(source, pixels=False), original)
        return _plane(frame, black, white, whole)


def _plane(frame: Frame, black: int, white: int, whole: bool) -> Plane:
    low = int(frame.values.min())
    values, factor = _reduced(frame.values.astype(np.int64) - low, whole)
    return Plane(np.clip(values.round(), 0, 65535).astype("<u2"), low, black, white, factor)


def _reduced(values: NDArray[Any], whole: bool) -> tuple[NDArray[Any], int]:
    """Means of blocks, so that the longest side fits; what does not fill a block is left out."""
    factor = 1 if whole else -(-max(values.shape) // LONGEST_SIDE)
    if factor == 1:
        return values, 1
    rows, columns = (side // factor for side in values.shape)
    blocks = values[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor)
    return blocks.mean(axis=(1, 3)), factor
