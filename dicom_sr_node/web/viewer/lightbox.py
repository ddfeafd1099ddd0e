"""Pixels for people: the original, a result, and what was added, as planes that a browser can window."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dicom_sr_node.config.working import WorkSettings
from dicom_sr_node.derive.heat_map import FULL_SHARE
from dicom_sr_node.dicom import damage, header
from dicom_sr_node.pixels.frame import Frame
from dicom_sr_node.pixels.sandbox import DecoderProcess
from dicom_sr_node.quality import detail_of
from dicom_sr_node.runtime.throttle import turn
from dicom_sr_node.verify.check import Verification
from dicom_sr_node.verify.verification import verify
from dicom_sr_node.web.viewer.display_window import DisplayWindows, display_windows

What = Literal["source", "result", "added"]
LONGEST_SIDE = 2048  # of an original, unless the whole of it is asked for
_MOST_KEPT = 256 << 20  # bytes of planes in memory, and the newest in any case
_MOST_WAITING = 6  # people; others are told to come again


@dataclass(frozen=True)
class Plane:
    """(H, W) little-endian uint16: value - offset.

    factor: each value is the mean of so many by so many pixels. size: (rows, columns) of the whole image. The values of
    `added` go from 0 to 1000, the full colour of a heat map.
    """

    values: NDArray[np.uint16]
    offset: int
    factor: int
    size: tuple[int, int]
    display_windows: DisplayWindows


class Lightbox:
    """Looks at one image at a time; foreign files are decoded in a process of their own."""

    def __init__(self) -> None:
        self._lock, self._seats = threading.Lock(), threading.Semaphore(_MOST_WAITING)
        self._reader = DecoderProcess(WorkSettings())
        self._planes: OrderedDict[tuple[object, ...], Plane] = OrderedDict()
        self._last: tuple[str, Frame] | None = None

    def close(self) -> None:
        """End the process that decodes."""
        self._reader.close()

    def plane(self, what: What, source: Path, result: Path | None, *, whole: bool = False) -> Plane:
        """`result` is needed for all but the source. Raises Unreadable, Undecodable, DecoderDied, OSError, Busy."""
        key = (what, source.name, result and result.name, whole)
        with turn(self._seats), self._lock:
            if key in self._planes:
                self._planes.move_to_end(key)
                return self._planes[key]
            shown = self._make(what, source, result, whole)
            self._planes[key] = shown
            while len(self._planes) > 1 and sum(plane.values.nbytes for plane in self._planes.values()) > _MOST_KEPT:
                self._planes.popitem(last=False)
            return shown

    def verify(self, derived: Path, source: Path) -> list[Verification]:
        """Each promise held against the two files. Raises Unreadable, OSError, Busy."""
        with turn(self._seats), self._lock:
            return verify(derived, source, self._reader)

    def _make(self, what: What, source: Path, result: Path | None, whole: bool) -> Plane:
        original = self._original(source)
        with damage.usable():
            shown = display_windows(header.read(source, pixels=False), original)
        values: NDArray[Any]
        if what == "added" and result is not None:
            detail = detail_of(self._reader.frame(result).values, original)
            values = np.clip(detail.blocks / (detail.width * FULL_SHARE or 1), 0, 1) * 1000
        elif what == "result" and result is not None:
            values = self._reader.frame(result).values
        else:
            values = original.values
        factor = 1 if whole else _factor(original.values.shape, values.shape)
        low = 0 if what == "added" else int(values.min())
        means = np.clip(_reduced(values, factor) - low, 0, 65535).round().astype("<u2")
        return Plane(means, low, factor, (values.shape[0], values.shape[1]), shown)

    def _original(self, source: Path) -> Frame:
        """The last one is kept: original, result and heat map of an image are asked for together."""
        if self._last is None or self._last[0] != source.name:
            self._last = (source.name, self._reader.frame(source))
        return self._last[1]


def _factor(original: tuple[int, ...], shape: tuple[int, ...]) -> int:
    """Where the original is reduced, its result is reduced to the same grid: neither is shown finer than it is sent."""
    scale, of_original = shape[0] // original[0], -(-max(original) // LONGEST_SIDE)
    if of_original > 1:
        return of_original * scale
    return next(way for way in (1, 2, scale) if max(shape) <= way * 2 * LONGEST_SIDE)


def _reduced(values: NDArray[Any], factor: int) -> NDArray[Any]:
    """Means of blocks; what does not fill a block is left out."""
    if factor == 1:
        return values.astype(np.int64) if values.dtype.kind in "iu" else values
    rows, columns = (side // factor for side in values.shape)
    blocks = values[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor)
    means: NDArray[Any] = blocks.mean(axis=(1, 3))
    return means
