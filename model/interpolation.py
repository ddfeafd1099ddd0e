"""The best that is classical: the interpolation whose block means are the source's.

It is the limit of back-projection (Irani & Peleg 1991) on cubic convolution (Keys 1981, a = -1/2), in one step:
enlarging by B and then averaging blocks by A is a small filter AB at low resolution. Applied to the low image first,
its inverse makes A B (AB)^-1 the identity. Both together are one short filter for each place in a block and each axis.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

REACH = 10  # low pixels to each side that a place in a block sees: what lies beyond weighs less than 1e-8
_RING = 128  # low pixels: long enough that the inverse does not meet itself


def consistent(low: Tensor, scale: int) -> Tensor:
    """(N, C, H, W) -> (N, C, scale * H, scale * W), whose s x s block means are `low`; always in float32.

    Beyond the border the image goes on as its mirror image, so that the promise holds up to the edge.
    """
    with torch.autocast(low.device.type, enabled=False):
        rows = _along_rows(low.float(), scale)
        return _along_rows(rows.transpose(2, 3), scale).transpose(2, 3)


def bicubic(low: Tensor, scale: int) -> Tensor:
    """Keys' cubic convolution with a = -0.5 (as in Pillow): (N, C, H, W) -> (N, C, scale * H, scale * W)."""
    return F.interpolate(low, scale_factor=scale, mode="bicubic", antialias=True, align_corners=False)


@cache
def phases(scale: int) -> NDArray[np.float64]:
    """(scale, 2 * REACH + 1): for each place in a block, the weights of the low pixels around it."""
    keys = np.zeros((scale, _RING))
    for phase in range(scale):
        for tap in range(-3, 4):
            keys[phase, tap] = _keys(abs(tap - _centre(phase, scale)))
    means = np.fft.fft(keys.mean(axis=0))  # bicubic, then block means
    exact = np.fft.ifft(np.fft.fft(keys, axis=1) / means, axis=1).real
    return np.roll(exact, REACH, axis=1)[:, : 2 * REACH + 1]


def phases_of_bicubic(scale: int) -> NDArray[np.float64]:
    """(4 * scale,): what one low pixel weighs in the high pixels around it, by bicubic alone."""
    return np.array([_keys(abs(_centre(phase, scale))) for phase in range(-3 * scale // 2, 5 * scale // 2)])


def _centre(phase: int, scale: int) -> float:
    """Of a high pixel, in low pixels from the centre of the block that place 0 begins."""
    return (phase + 0.5) / scale - 0.5


def _keys(distance: float) -> float:
    """Keys 1981, equation 15."""
    if distance < 1:
        return 1.5 * distance**3 - 2.5 * distance**2 + 1
    return -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2 if distance < 2 else 0.0


@cache
def _kernel(scale: int, device: torch.device) -> Tensor:
    return torch.tensor(phases(scale), dtype=torch.float32, device=device)[:, None, None, :]


def _along_rows(image: Tensor, scale: int) -> Tensor:
    """(N, C, H, W) -> (N, C, H, scale * W)."""
    number, channels, height, width = image.shape
    ends = torch.arange(-REACH, width + REACH, device=image.device) % (2 * width)
    mirrored = image[..., torch.where(ends < width, ends, 2 * width - 1 - ends)]
    single = mirrored.reshape(number * channels, 1, height, width + 2 * REACH)
    cudnn = torch.backends.cudnn
    with cudnn.flags(
        enabled=cudnn.enabled, benchmark=cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=False
    ):  # the ten bits of TF32 would not do
        places = F.conv2d(single, _kernel(scale, image.device))  # (N * C, scale, H, W)
    return places.permute(0, 2, 3, 1).reshape(number, channels, height, width * scale)
