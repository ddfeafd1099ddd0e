"""Ways to enlarge an image: classical filters, back-projection and its limit, and generators."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

from model.family import SuperResolver
from model.intensity import Window
from model.interpolation import consistent
from model.upscaler import Upscaler
from training.images import Pixels, resize

Method = Callable[[Pixels, int, int], Pixels]  # (H, W), scale, peak -> (scale * H, scale * W), same dtype

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
BACK_PROJECTION, LIMIT = "back-projection", "consistent"  # the latter is what the former ends at
ROUNDS = 10  # of back-projection


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


def limit(low: Pixels, scale: int, peak: int) -> Pixels:
    """The limit of back-projection: bicubic whose block means are the source's. What a generator starts from."""
    high = consistent(torch.from_numpy(low.astype(np.float32))[None, None], scale)[0, 0].numpy()
    return np.asarray(np.rint(high).clip(0, peak), low.dtype)


def by_upscaler(upscaler: Upscaler) -> Method:
    """A generator, through the door that the node uses."""

    def upscale(low: Pixels, scale: int, peak: int) -> Pixels:
        return upscaler.upscale(low, scale, value_range=(0, peak))

    return upscale


def raw(generator: SuperResolver) -> Method:
    """A generator's own image, before the consistency step; in one piece."""
    device = next(generator.parameters()).device

    @torch.no_grad()
    def upscale(low: Pixels, scale: int, peak: int) -> Pixels:
        window = Window.of(low)
        unit = torch.from_numpy(window.to_unit(low))[None, None].to(device)
        high = generator(unit.expand(-1, generator.config.channels, -1, -1)).float().mean(dim=1)[0].cpu().numpy()
        image: Pixels = np.rint(window.to_stored(high)).clip(0, peak).astype(low.dtype)
        return image

    return upscale


CLASSICAL: dict[str, Method] = {
    **{name: by_filter(name) for name in FILTERS},
    BACK_PROJECTION: back_projection,
    LIMIT: limit,
}
