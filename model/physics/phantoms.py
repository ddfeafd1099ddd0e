"""Phantoms by formula, in 12 bits: computed at four times the fine grid and averaged, then again to low pixels.

Frequencies are in cycles per low pixel everywhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint16]
Values = NDArray[np.float64]

PEAK = 4095
GRAY = 2048.0
SLOPE = 16  # rows in which the slanted edge moves by one high pixel
SUPERSAMPLED = 4


def area_mean(high: Values, scale: int) -> Values:
    """(sH, sW) -> (H, W)."""
    height, width = high.shape[0] // scale, high.shape[1] // scale
    means: Values = high.reshape(height, scale, width, scale).mean(axis=(1, 3))
    return means


def stored(values: Values) -> Pixels:
    """What a detector of 12 bits would store."""
    return np.rint(values).clip(0, PEAK).astype(np.uint16)


def edge(size: int, scale: int, contrast: float) -> Values:
    """(size * scale, size * scale): a slanted edge through the middle, its step a share of the peak."""
    side = size * scale
    fine = (np.arange(side * SUPERSAMPLED) + 0.5) / SUPERSAMPLED
    middle = side / 2 + (np.arange(side) + 0.5 - side / 2)[:, None] / SLOPE
    bright = (fine[None] > middle).reshape(side, side, SUPERSAMPLED).mean(axis=2)
    step = contrast * PEAK
    edge: Values = GRAY - step / 2 + step * bright
    return edge


def bars(size: int, scale: int, frequency: float, phase: float, contrast: float = 0.5) -> Values:
    """(size * scale, size * scale): upright sine bars; each pixel is the mean over its area."""
    centre = (np.arange(size * scale) + 0.5) / scale
    wave = np.sinc(frequency / scale) * np.sin(2 * np.pi * (frequency * centre + phase))
    return np.tile(GRAY + contrast / 2 * PEAK * wave, (size * scale, 1))


def disc(size: int, diameter: float) -> Values:
    """(size, size) on [0, 1]: a disc in the middle of high pixels, each the share of its area that is covered."""
    fine = (np.arange(size * SUPERSAMPLED) + 0.5) / SUPERSAMPLED - size / 2
    inside = np.hypot(fine[:, None], fine[None]) <= diameter / 2
    return area_mean(inside.astype(np.float64), SUPERSAMPLED)


def noise(size: int, deviation: float, seed: int) -> Values:
    """(size, size) around zero: white and Gaussian."""
    return np.random.default_rng(seed).normal(0, deviation, (size, size))
