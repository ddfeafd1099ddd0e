"""What is transferred of an edge and of bars: modulation, overshoot, phase, alias (IEC 62220-1-1; AAPM report 233)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.interpolation import phases_of_bicubic
from model.physics import phantoms
from model.physics.phantoms import SLOPE, Values

MARGIN = 8  # high pixels that no measure sees at each border


@dataclass(frozen=True)
class EdgeResponse:
    """What one slanted edge tells."""

    frequency: Values  # cycles per low pixel
    mtf: Values
    overshoot: float  # beyond either plateau, as a share of the step

    def at(self, frequency: float) -> float:
        """The modulation at a frequency."""
        return float(np.interp(frequency, self.frequency, self.mtf))


def edge_response(image: Values, scale: int) -> EdgeResponse:
    """Of an image (sN, sN) of `phantoms.edge`: its pixels along the normal, sixteen times as fine as they are.

    The rows are a whole number of phases of the edge to the low grid; a slant that does not run through whole phases
    misreads: nearest neighbour as .474 instead of .416.
    """
    side = image.shape[0]
    rows = (side - 2 * MARGIN) // (SLOPE * scale) * (SLOPE * scale)
    first = (side - rows) // 2
    chosen = np.arange(first, first + rows)
    middle = side / 2 + (chosen + 0.5 - side / 2) / SLOPE
    apart = np.arange(side)[None] + 0.5 - middle[:, None]  # high pixels from the edge
    reach = side // 2 - MARGIN - rows // SLOPE // 2
    bins = np.floor((apart + reach) * SLOPE + 1e-6).astype(int)
    inside = (bins >= 0) & (bins < 2 * reach * SLOPE)
    counts = np.bincount(bins[inside], minlength=2 * reach * SLOPE)
    spread = np.bincount(bins[inside], weights=image[chosen][inside], minlength=2 * reach * SLOPE) / counts
    plateau = reach * SLOPE // 2
    dark, bright = np.median(spread[:plateau]), np.median(spread[-plateau:])
    spread = (spread - dark) / (bright - dark)
    line = np.diff(spread)
    # the bins shift all pixels of a row by the same fraction; the difference of neighbours is what is corrected here
    frequency = np.arange(len(line) // 2) / len(line) * SLOPE  # cycles per high pixel
    modulation = np.abs(np.fft.fft(line))[: len(frequency)] / np.sinc(frequency / SLOPE)
    overshoot = max(float(spread.max()) - 1, -float(spread.min()), 0.0)
    return EdgeResponse(frequency * scale, modulation, overshoot)


def known_mtf(kind: str, frequency: float, scale: int) -> float:
    """What theory says of the original, of nearest neighbour and of bicubic, averaged over all places of the edge."""
    if kind == "original":
        return float(np.sinc(frequency / scale))
    weights = {"nearest": np.ones(scale), "bicubic": phases_of_bicubic(scale)}[kind]
    position = np.arange(len(weights)) - (len(weights) - 1) / 2
    response = np.sum(weights * np.exp(-2j * np.pi * frequency * position / scale)) / weights.sum()
    return float(np.sinc(frequency) * abs(response))


def gain(result: Values, original: Values, frequency: float, scale: int) -> complex:
    """The bars of a frequency in the result over those in the original: 1 where nothing is lost; its angle: shift."""
    return complex(_component(result, frequency, scale) / _component(original, frequency, scale))


def alias(result: Values, original: Values, frequency: float, scale: int) -> float:
    """Bars above half the sampling frequency come back as coarser ones: those over the original's."""
    return float(abs(_component(result, 1 - frequency, scale)) / abs(_component(original, frequency, scale)))


def _component(image: Values, frequency: float, scale: int) -> complex:
    profile = image.mean(axis=0)
    position = (np.arange(len(profile)) + 0.5) / scale
    return complex(np.mean((profile - profile.mean()) * np.exp(-2j * np.pi * frequency * position)))


def whole_phases(scale: int) -> int:
    """Low pixels of a side on which the edge runs through whole phases, with margins."""
    return SLOPE * 6 + 2 * MARGIN // scale


def original(scale: int, contrast: float) -> tuple[Values, phantoms.Pixels]:
    """The slanted edge (high, low)."""
    high = phantoms.edge(whole_phases(scale), scale, contrast)
    return high, phantoms.stored(phantoms.area_mean(high, scale))
