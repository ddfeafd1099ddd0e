"""Any size by overlapping tiles with blended borders, strip by strip, so that memory does not grow with the image."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]  # (T, h, w) low -> (T, s*h, s*w) high


@dataclass(frozen=True)
class Span:
    """One tile along one axis, in low pixels: [start, stop)."""

    start: int
    stop: int


def spans(length: int, tile: int, overlap: int) -> list[Span]:
    """Equal spans of at most `tile` pixels that cover `length`.

    Neighbours share at least `overlap` (where they can).
    """
    if not 0 <= 3 * overlap <= tile:  # so that no pixel ever lies in three spans
        raise ValueError(f"overlap {overlap} must be between 0 and a third of the tile {tile}")
    if length <= tile:
        return [Span(0, length)]
    count = math.ceil((length - overlap) / (tile - overlap))
    size = math.ceil((length + (count - 1) * overlap) / count)
    last = length - size
    starts = [round(last * index / (count - 1)) for index in range(count)]
    return [Span(start, start + size) for start in starts]


def strips(
    low: Image, run: Run, *, scale: int, tile: int, overlap: int, batch_pixels: int
) -> Iterator[tuple[int, Image]]:
    """Yield (first low row, finished rows) from top to bottom: low (H, W) -> pieces of (s*H, s*W).

    `run` gets at most `batch_pixels` low pixels at a time, and never less than one tile.
    """
    rows, columns = spans(low.shape[0], tile, overlap), spans(low.shape[1], tile, overlap)
    carried: Image = np.empty((0, low.shape[1] * scale), np.float32)  # the previous row's share of the rows in common
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        strip = _one_row(low[row.start : row.stop], columns, run, scale, batch_pixels)
        common = len(carried)
        strip[:common] = _blend(carried, strip[:common], axis=0)
        finished = strip if following is None else strip[: (following.start - row.start) * scale]
        carried = strip[len(finished) :].copy()
        yield row.start, finished


def _one_row(low: Image, columns: list[Span], run: Run, scale: int, batch_pixels: int) -> Image:
    """(h, W) -> (s*h, s*W): one row of tiles, blended from left to right."""
    height, width = low.shape
    strip = np.empty((height * scale, width * scale), np.float32)
    size = columns[0].stop - columns[0].start
    batch = max(1, batch_pixels // (height * size))
    done = 0
    for first in range(0, len(columns), batch):
        chosen = columns[first : first + batch]
        for column, high in zip(chosen, run(np.stack([low[:, c.start : c.stop] for c in chosen])), strict=True):
            start = column.start * scale
            common = done - start
            strip[:, start:done] = _blend(strip[:, start:done], high[:, :common], axis=1)
            done = column.stop * scale
            strip[:, start + common : done] = high[:, common:]
    return strip


def _blend(before: Image, after: Image, *, axis: int) -> Image:
    """A linear passage from one tile to the next over the pixels that they share."""
    length = before.shape[axis]
    weight = (np.arange(length, dtype=np.float32) + 0.5) / max(length, 1)
    weight = weight[:, None] if axis == 0 else weight[None, :]
    mixed: Image = before + weight * (after - before)
    return mixed
