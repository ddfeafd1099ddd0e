"""The guarantee: each s x s block of a result averages to the source's stored value, bit for bit.

The generator may distribute detail inside a block and nothing else. `project` is the differentiable form for training,
`enforce` the exact one in integers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

_KEY_BITS = 20  # of a remainder, when remainders are ranked


def project(high: Tensor, low: Tensor) -> Tensor:
    """Shift each block so that its mean is the low pixel: (N, C, sH, sW), (N, C, H, W) -> (N, C, sH, sW)."""
    scale = high.shape[-1] // low.shape[-1]
    error = low - F.avg_pool2d(high, scale)
    return high + F.interpolate(error, scale_factor=scale, mode="nearest")


def enforce(
    high: NDArray[np.float32],
    source: NDArray[np.integer],
    *,
    value_range: tuple[int, int],
    padding: tuple[int, int] | None = None,
) -> NDArray[np.int32]:
    """The integer image nearest to `high` whose block means are `source`.

    high: (sH, sW), stored values, not rounded. source: (H, W), stored values within `value_range` (both ends included).
    padding: pixel padding values (both ends included): such blocks stay what they are, and no other block may take a
    padding value or cross it. Returns (sH, sW) with `block_sums(result, s) == s * s * source` everywhere.
    """
    scale = high.shape[0] // source.shape[0]
    values = source.astype(np.int32)
    room_down, room_up = _room(values, value_range, padding)
    detail = _blocks(high, scale)  # (H, W, s*s)
    detail -= detail.mean(axis=-1, keepdims=True)
    detail *= _shrink(detail, room_down, room_up)[..., None]
    whole = np.floor(detail)
    np.clip(whole, -room_down[..., None], room_up[..., None], out=whole)
    remainder = detail - whole
    remainder[whole >= room_up[..., None]] = -1  # full: cannot take one more
    steps = whole.astype(np.int32)
    steps += _largest(remainder, count=-steps.sum(axis=-1))
    return _unblocks(values[..., None] + steps, scale)


def block_sums(image: NDArray[np.integer], scale: int) -> NDArray[np.int64]:
    """(sH, sW) -> (H, W): the sum of each s x s block, exactly."""
    height, width = image.shape[0] // scale, image.shape[1] // scale
    sums: NDArray[np.int64] = image.reshape(height, scale, width, scale).sum(axis=(1, 3), dtype=np.int64)
    return sums


def _room(
    values: NDArray[np.int32], value_range: tuple[int, int], padding: tuple[int, int] | None
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """How far each pixel may go down and up."""
    lowest, highest = np.full_like(values, value_range[0]), np.full_like(values, value_range[1])
    if padding is not None:
        first, last = padding
        lowest[values > last] = max(last + 1, value_range[0])
        highest[values < first] = min(first - 1, value_range[1])
        fixed = (values >= first) & (values <= last)
        lowest[fixed] = highest[fixed] = values[fixed]
    return values - lowest, highest - values


def _shrink(
    detail: NDArray[np.float32], room_down: NDArray[np.int32], room_up: NDArray[np.int32]
) -> NDArray[np.float32]:
    """The largest factor of at most one that keeps each block's detail within its room: (H, W)."""
    deepest, tallest = -detail.min(axis=-1), detail.max(axis=-1)
    factor = np.ones_like(deepest)
    np.divide(room_down, deepest, out=factor, where=deepest > room_down)
    up = np.ones_like(tallest)
    np.divide(room_up, tallest, out=up, where=tallest > room_up)
    smaller: NDArray[np.float32] = np.minimum(factor, up)
    return smaller


def _largest(remainder: NDArray[np.float32], *, count: NDArray[np.int32]) -> NDArray[np.bool_]:
    """True for the `count` largest remainders of each block.

    Equal ones in reading order, so the result is repeatable.
    """
    size = remainder.shape[-1]
    order_bits = (size - 1).bit_length()
    ranked = (remainder * np.float32(1 << _KEY_BITS)).astype(np.int32) << order_bits
    ranked |= np.arange(size - 1, -1, -1, dtype=np.int32)  # all keys of a block differ
    ascending = np.sort(ranked, axis=-1)
    last_in = np.take_along_axis(ascending, np.clip(size - count, 0, size - 1)[..., None], axis=-1)
    chosen: NDArray[np.bool_] = (ranked >= last_in) & (count > 0)[..., None]
    return chosen


def _blocks(image: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    """(sH, sW) -> (H, W, s*s), a copy."""
    height, width = image.shape[0] // scale, image.shape[1] // scale
    split = image.reshape(height, scale, width, scale).transpose(0, 2, 1, 3)
    return np.array(split, dtype=np.float32, order="C").reshape(height, width, scale * scale)


def _unblocks(blocks: NDArray[np.int32], scale: int) -> NDArray[np.int32]:
    """(H, W, s*s) -> (sH, sW)."""
    height, width = blocks.shape[:2]
    split = blocks.reshape(height, width, scale, scale).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(split).reshape(height * scale, width * scale)
