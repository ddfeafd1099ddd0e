"""What is measured: an image and its low one under a protocol, and what a method makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training import images, metrics
from training.degrade import AreaMean, Bicubic, Scene, degrade_stored
from training.images import Gray, Pixels
from training.methods import Method

Scores = dict[str, float]  # by metric

WHOLE, NATIVE = 256, 1024  # pixels
SMALLEST = 32  # pixels: below, the windows of the metrics do not fit
LOWS: dict[str, AreaMean | Bicubic] = {"area": AreaMean(), "bicubic": Bicubic()}


@dataclass(frozen=True)
class Case:
    """One image to measure on, in stored values."""

    high: Pixels  # (sH, sW)
    low: Pixels  # (H, W)
    peak: int


def case(path: Path, protocol: str, low: str, scale: int) -> Case:
    """The images of a file under a protocol. Raises ValueError for a file that cannot be read."""
    gray = images.read_gray(path)
    high = images.shrink(gray, WHOLE) if protocol == "seed" else _centre(gray, scale)
    if min(high.shape) < SMALLEST:
        raise ValueError(f"{high.shape[1]}x{high.shape[0]} pixels are too few to measure on")
    return Case(high, low_of(high, low, scale, gray.peak), gray.peak)


def low_of(high: Pixels, low: str, scale: int, peak: int) -> Pixels:
    """The low image in whole stored values: (sH, sW) -> (H, W)."""
    scene = Scene(scale, peak, np.random.default_rng(0))
    return degrade_stored(high, (LOWS[low],), scene)


def _centre(gray: Gray, scale: int) -> Pixels:
    size = min(NATIVE, *gray.pixels.shape) // scale * scale
    top, left = ((length - size) // 2 for length in gray.pixels.shape)
    return gray.pixels[top : top + size, left : left + size]


def score(result: Pixels, case: Case) -> Scores:
    """What one method's result is worth, by metric."""
    high, peak = case.high, case.peak
    return {
        **metrics.quality(result, high, peak),
        "psnr_shaved": metrics.psnr(metrics.shaved(result), metrics.shaved(high), peak),
        "consistency_error": metrics.consistency_error(result, case.low),
    }


def measure(case: Case, methods: Mapping[str, Method], scale: int) -> dict[str, Scores]:
    """The scores of each method for one image."""
    return {name: score(method(case.low, scale, case.peak), case) for name, method in methods.items()}
