"""Variations of a crop that a generator should not mind: orientation, tone, depth, contrast, what lies on it."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training import phantoms

Floats = NDArray[np.float32]
Augmentation = Literal["flip", "turn", "zoom", "contrast", "gamma", "depth", "overlay"]
Chosen = tuple[Augmentation, ...]

CONTRAST = np.float32(0.2)  # of the window's half width
GAMMA = 1.8  # the strongest, either way
OVERLAY = 0.1  # the share of crops with something on them
DEEPEST = 16  # bits


def oriented(crop: NDArray[np.float32], chosen: Chosen, random: np.random.Generator) -> Floats:
    """Mirrored and turned by right angles: (size, size) -> same."""
    if "flip" in chosen and random.random() < 0.5:
        crop = crop[:, ::-1]
    if "turn" in chosen:
        crop = np.rot90(crop, int(random.integers(4)))
    return np.ascontiguousarray(crop)


def toned(crop: Floats, chosen: Chosen, random: np.random.Generator) -> Floats:
    """Another gradation, and something on top: values on the network's scale, where the window is [-1, 1]."""
    if "gamma" in chosen and random.random() < 0.5:
        gamma = np.float32(GAMMA ** random.uniform(-1, 1))
        share = (crop + 1) / 2
        crop = 2 * np.where(share > 0, np.power(np.maximum(share, np.float32(1e-6)), gamma), share) - 1
    if "overlay" in chosen and random.random() < OVERLAY:
        crop = 2 * phantoms.overlay((crop + 1) / 2, random) - 1
    return crop.astype(np.float32)


def depth(peak: int, chosen: Chosen, random: np.random.Generator) -> float:
    """What one stored value of a deeper detector is worth, in values of this image."""
    if "depth" not in chosen or random.random() < 0.5:
        return 1.0
    return float(2.0 ** -random.integers(0, max(1, DEEPEST - peak.bit_length()) + 1))


def contrast(chosen: Chosen, random: np.random.Generator) -> tuple[np.float32, np.float32]:
    """(shift, stretch) of the window."""
    if "contrast" not in chosen:
        return np.float32(0), np.float32(1)
    shift, stretch = random.uniform(-1, 1, 2).astype(np.float32) * CONTRAST
    return shift, 1 + stretch
