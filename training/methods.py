"""Ways to enlarge an image: classical filters, back-projection, and generators."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from model.upscaler import Upscaler
from training.images import Pixels, resize

Method = Callable[[Pixels, int, int], Pixels]  # (H, W), scale, peak -> (scale * H, scale * W), same dtype

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
ROUNDS = 20  # of back-projection: more change less than 0.01 dB


def by_filter(name: str) -> Method:
    """One of the classical filters."""

    def upscale(low: Pixels, scale: int, peak: int) -> Pixels:
        return resize(low, low.shape[1] * scale, low.shape[0] * scale, peak, FILTERS[name])

    return upscale


def back_projection(low: Pixels, scale: int, peak: int) -> Pixels:
    """Bicubic, then the error of its area mean added until it is gone (Irani & Peleg 1991)."""

    def enlarge(values: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> Pixels:
        size = (low.shape[1] * scale, low.shape[0] * scale)
        return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BICUBIC))

    high = enlarge(low.astype(np.float32))
    for _ in range(ROUNDS):
        means = high.reshape(low.shape[0], scale, low.shape[1], scale).mean(axis=(1, 3))
        high = high + enlarge((low - means).astype(np.float32))
    return np.rint(high).clip(0, peak).astype(low.dtype)


def by_upscaler(upscaler: Upscaler) -> Method:
    """A generator, through the door that the node uses."""

    def upscale(low: Pixels, scale: int, peak: int) -> Pixels:
        return upscaler.upscale(low, scale, value_range=(0, peak))

    return upscale


CLASSICAL: dict[str, Method] = {
    **{name: by_filter(name) for name in FILTERS},
    "back-projection": back_projection,
}
