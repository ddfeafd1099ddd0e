"""What is measured: an image and its low one under a protocol, and what a method makes of it.

Protocols: *whole*, the image squeezed into a square as in the seed; *fit*, the same with its aspect ratio kept;
*native*, a part at the image's own resolution. Each as it is, turned, mirrored, or with a detector's noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from training import images, metrics
from training.baselines import Method
from training.degrade import AreaMean, Bicubic, Noise, Quantise, degrade, degrade_stored, scene_of
from training.images import Gray, Pixels

Scores = dict[str, float]  # by metric
Protocol = Literal["whole", "fit", "native"]
Variant = Literal["as it is", "turned", "mirrored", "noisy"]
Low = Literal["area", "bicubic"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
VARIANTS: tuple[Variant, ...] = get_args(Variant)

WHOLE, NATIVE = 256, 512  # pixels: the side of a whole image, and at most of a part
LOWS: dict[str, AreaMean | Bicubic] = {"area": AreaMean(), "bicubic": Bicubic()}
NOISE = Noise(quanta=0.06, readout=0.03)  # of the high image, at most, as shares of its range


@dataclass(frozen=True)
class Question:
    """How one table is measured."""

    protocol: Protocol = "whole"
    scale: int = 4
    variant: Variant = "as it is"
    low: Low = "area"

    def __str__(self) -> str:
        return f"{self.protocol} x{self.scale}, {self.variant}, low by {self.low}"


@dataclass(frozen=True)
class Case:
    """One image to measure on, in stored values."""

    high: Pixels  # (sH, sW)
    low: Pixels  # (H, W)
    peak: int


def case(path: Path, question: Question) -> Case:
    """The images of a file. Raises ValueError for a file that cannot be read, is too small, or is constant."""
    gray = images.read_gray(path)
    high = _whole_blocks(_high(gray, question.protocol), question.scale)
    if min(high.shape) < metrics.SMALLEST:
        raise ValueError(f"{high.shape[1]}x{high.shape[0]} pixels are too few to measure on")
    if not np.ptp(high):
        raise ValueError("it is constant: there is nothing to measure on")
    match question.variant:
        case "turned":
            high = np.ascontiguousarray(np.rot90(high))
        case "mirrored":
            high = np.ascontiguousarray(high[:, ::-1])
    return Case(high, low_of(high, question, gray.peak), gray.peak)


def low_of(high: Pixels, question: Question, peak: int) -> Pixels:
    """The low image in whole stored values: (sH, sW) -> (H, W); noise is a detector's, on the high image."""
    scene = scene_of(high, peak, question.scale, np.random.default_rng(0))
    if question.variant == "noisy":
        noisy = degrade(high.astype(np.float32), (NOISE,), scene)
        return degrade(noisy, (LOWS[question.low], Quantise()), scene).astype(high.dtype)
    return degrade_stored(high, (LOWS[question.low],), scene)


def _high(gray: Gray, protocol: Protocol) -> Pixels:
    match protocol:
        case "whole":
            return images.shrink(gray, WHOLE)
        case "fit":
            return images.fit(gray, WHOLE)
        case "native":
            size = [min(NATIVE, length) for length in gray.pixels.shape]
            top, left = ((length - side) // 2 for length, side in zip(gray.pixels.shape, size, strict=True))
            return gray.pixels[top : top + size[0], left : left + size[1]]


def _whole_blocks(high: Pixels, scale: int) -> Pixels:
    height, width = (length // scale * scale for length in high.shape)
    return high[:height, :width]


def score(result: Pixels, case: Case) -> Scores:
    """What one method's result is worth, by metric."""
    return {
        **metrics.quality(result, case.high),
        "psnr_shaved": metrics.psnr(metrics.shaved(result), metrics.shaved(case.high)),
        "consistency_error": metrics.consistency_error(result, case.low),
    }


def measure(case: Case, methods: Mapping[str, Method], scale: int) -> dict[str, Scores]:
    """The scores of each method for one image."""
    return {name: score(method(case.low, scale, case.peak), case) for name, method in methods.items()}
