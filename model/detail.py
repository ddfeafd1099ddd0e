"""What a result added to its source, measured against the best classical interpolation, and how noisy the source is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model.intensity import Window
from model.interpolation import REACH, consistent

_ROWS = 256  # low rows at a time: bounds memory, whatever the image size
ROUNDING = 1.0  # stored values: what whole numbers alone put between two images
_NORMAL = 0.6745  # the median of |x| of a normal distribution, in standard deviations
_LAPLACIAN = 6.0  # the norm of Immerkaer's mask


@dataclass(frozen=True)
class Detail:
    """What lies between a result and the consistent interpolation of its source: root mean squares, stored values."""

    blocks: NDArray[np.float32]  # (H, W), one for each s x s block
    rms: float  # of the whole image
    width: float  # of the image's intensity window, in stored values
    noise: float  # of the source, in stored values: the standard deviation of what differs from pixel to pixel

    @property
    def share(self) -> float:
        """The added detail as a share of the image's contrast: what the generator did, at any bit depth."""
        return self.rms / self.width

    @property
    def noise_share(self) -> float:
        """The source's noise as a share of the image's contrast."""
        return self.noise / self.width


def added(result: NDArray[Any], source: NDArray[Any], *, ignored: NDArray[np.bool_] | None = None) -> Detail:
    """(sH, sW) and (H, W) of stored values -> what was added. ignored: (H, W), pixels that are no image (padding)."""
    scale = result.shape[0] // source.shape[0]
    height, width = source.shape
    blocks, offset = np.empty((height, width), np.float32), int(source.min())  # of small numbers few digits are lost
    for start in range(0, height, _ROWS):
        stop = min(start + _ROWS, height)
        first, last = max(0, start - REACH), min(height, stop + REACH)
        low = torch.from_numpy((source[first:last].astype(np.int32) - offset).astype(np.float32))[None, None]
        smooth = consistent(low, scale)[0, 0].numpy()[(start - first) * scale : (stop - first) * scale]
        apart = (result[start * scale : stop * scale].astype(np.int32) - offset).astype(np.float32) - smooth
        blocks[start:stop] = np.sqrt(np.square(apart).reshape(stop - start, scale, width, scale).mean(axis=(1, 3)))
    real = np.ones(source.shape, np.bool_) if ignored is None or ignored.all() else ~ignored
    rms = float(np.sqrt(np.square(blocks[real], dtype=np.float64).mean()))
    return Detail(blocks, rms, 2 * abs(Window.of(source[real]).half_width), noise(source, real))


def noise(source: NDArray[Any], real: NDArray[np.bool_]) -> float:
    """The standard deviation of the noise in stored values: what no straight or bent surface explains.

    Immerkaer 1996's mask, and the median instead of the mean, so that edges do not count. real: (H, W), what counts.
    """
    if min(source.shape) < 3:
        return 0.0
    values = source.astype(np.float32)
    rows = values[:-2] - 2 * values[1:-1] + values[2:]
    both = rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]
    inner = real[1:-1, 1:-1]
    chosen = np.abs(both[inner] if inner.any() else both)
    return float(np.median(chosen)) / _NORMAL / _LAPLACIAN
