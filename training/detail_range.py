"""How much detail a generator usually adds, by scale and by the noise of the source: what the node's gate holds results
against. Measured on held-out patients; `training.card` writes it into the cards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from model import detail
from model.checkpoint import Usual
from model.upscaler import Upscaler
from training import evaluation_set, images
from training.evaluation_set import Question
from training.images import Pixels

CROP = 192  # pixels of the image as it is: detail at full resolution
NOISE = (0.0, 0.01, 0.03, 0.1)  # standard deviations that are added, as shares of the image's range
LEVELS = (0.005, 0.01, 0.02, 0.05, 0.12)  # noise that was found, as a share of contrast: the ends of the levels
DEPTH = 16  # what an image of 8 bits is multiplied by: noise of a deeper detector is not rounded away


def measure(upscaler: Upscaler, paths: Sequence[Path]) -> dict[str, list[Usual]]:
    """The least and the greatest share of added detail, by scale and noise. Raises ValueError without an image."""
    shares_at: dict[int, list[tuple[float, float]]] = {scale: [] for scale in upscaler.scales}
    for path in paths:
        for low in _lows(path):
            for scale, shares in shares_at.items():
                added = detail.added(upscaler.upscale(low, scale), low)
                shares.append((added.noise_share, added.share))
    if not all(shares_at.values()):
        raise ValueError("there is no image to measure on")
    return {str(scale): list(_levels(shares)) for scale, shares in shares_at.items()}


def _levels(shares: Sequence[tuple[float, float]]) -> Iterator[Usual]:
    """Each level of noise that was met, with what was added there; what a level lacks it takes from the one below."""
    before = 0.0
    for level in LEVELS:
        there = [added for noise, added in shares if before < noise <= level or (not before and noise == 0)]
        if there:
            yield level, round(min(there), 6), round(max(there), 6)
        before = level


def _lows(path: Path) -> Iterator[Pixels]:
    """An image as the node may get it: a part at full resolution, and the whole at that of the seed; with noise too."""
    high = images.read_gray(path).pixels
    top, left = ((length - min(CROP, length)) // 2 for length in high.shape)
    whole = evaluation_set.case(path, Question("whole", 4)).low
    random = np.random.default_rng(0)
    for low in (high[top : top + CROP, left : left + CROP], whole):
        deep = low.astype(np.float32) * DEPTH if low.dtype == np.uint8 else low.astype(np.float32)
        for share in NOISE:
            noisy = deep + random.standard_normal(low.shape, dtype=np.float32) * np.float32(share * np.ptp(deep))
            yield np.rint(noisy).clip(0, 65535).astype(np.uint16)
