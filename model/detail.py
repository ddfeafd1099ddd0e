"""What a result added to its source, measured against bicubic interpolation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from model.intensity import Window

_ROWS = 256  # low rows at a time: bounds memory, whatever the image size
_REACH = 4  # low rows around them, more than bicubic interpolation can see
ROUNDING = 1.0  # stored values: what whole numbers alone put between two images


@dataclass(frozen=True)
class Detail:
    """What lies between a result and bicubic interpolation of its source, as root mean squares in stored values."""

    blocks: NDArray[np.float32]  # (H, W), one for each s x s block
    rms: float  # of the whole image
    width: float  # of the image's intensity window, in stored values

    @property
    def share(self) -> float:
        """The added detail as a share of the image's contrast: what the generator did, at any bit depth."""
        return self.rms / self.width


def added(result: NDArray[Any], source: NDArray[Any], *, ignored: NDArray[np.bool_] | None = None) -> Detail:
    """(sH, sW) and (H, W) of stored values -> what was added. ignored: (H, W), pixels that are no image (padding)."""
    scale = result.shape[0] // source.shape[0]
    height, width = source.shape
    blocks = np.empty((height, width), np.float32)
    for start in range(0, height, _ROWS):
        stop = min(start + _ROWS, height)
        first, last = max(0, start - _REACH), min(height, stop + _REACH)
        low = torch.from_numpy(source[first:last].astype(np.float32))[None, None]
        smooth = F.interpolate(low, scale_factor=scale, mode="bicubic", align_corners=False)[0, 0].numpy()
        smooth = smooth[(start - first) * scale : (stop - first) * scale]
        apart = result[start * scale : stop * scale].astype(np.float32) - smooth
        blocks[start:stop] = np.sqrt(np.square(apart).reshape(stop - start, scale, width, scale).mean(axis=(1, 3)))
    real = np.ones(source.shape, np.bool_) if ignored is None or ignored.all() else ~ignored
    rms = float(np.sqrt(np.square(blocks[real], dtype=np.float64).mean()))
    return Detail(blocks, rms, 2 * abs(Window.of(source[real]).half_width))
