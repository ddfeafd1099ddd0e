"""What is made of noise: its deviation, its spectrum (IEC 62220-1-1), and discs that have to be seen in it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from model.physics import phantoms
from model.physics.phantoms import Values

Enlarge = Callable[[phantoms.Pixels], Values]  # (H, W) -> (sH, sW), stored values

PATCH = 48  # high pixels around one disc
ACROSS, DOWN = 32, 20  # patches in the image: 640 pairs of one with and one without a disc
RESAMPLES = 1000
BINS = 32  # of the noise power spectrum


def power(image: Values, scale: int, side: int = 64) -> tuple[Values, Values]:
    """(frequency in cycles per low pixel, power) of an image around its mean: the radial noise power spectrum.

    Regions of `side` low pixels that overlap by half, their means removed, under a Hann window.
    """
    size = side * scale
    taper = np.outer(np.hanning(size), np.hanning(size))
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None]) * scale
    ring = np.minimum(frequency / (scale / 2) * BINS, BINS).astype(int).ravel()
    sums = np.zeros(BINS + 1)
    for top in range(0, image.shape[0] - size + 1, size // 2):
        for left in range(0, image.shape[1] - size + 1, size // 2):
            region = image[top : top + size, left : left + size]
            values = (region - region.mean()) * taper
            sums += np.bincount(ring, weights=(np.abs(np.fft.fft2(values)) ** 2).ravel(), minlength=BINS + 1)
    counts = np.bincount(ring, minlength=BINS + 1)
    centres = (np.arange(BINS) + 0.5) * (scale / 2) / BINS
    return centres, (sums / np.maximum(counts, 1))[:BINS]


def scores(enlarge: Enlarge, scale: int, diameter: float, contrast: float, deviation: float) -> tuple[Values, Values]:
    """What an observer who knows the disc and its place sees: (640,) with and (640,) without it, the same noise.

    The template is the disc itself; the noise is white, of this deviation in high pixels.
    """
    template = phantoms.disc(PATCH, diameter)
    discs = np.tile(template, (DOWN, ACROSS)) * contrast
    random = np.random.default_rng(int(diameter))
    noisy = phantoms.GRAY + random.normal(0, deviation, discs.shape)
    template = template - template.mean()
    with_disc, without = (
        (enlarge(phantoms.stored(phantoms.area_mean(image, scale))).reshape(DOWN, PATCH, ACROSS, PATCH))
        for image in (noisy + discs, noisy)
    )
    seen = [np.einsum("ajbk,jk->ab", image, template).ravel() for image in (with_disc, without)]
    return seen[0], seen[1]


def detectability(with_disc: Values, without: Values) -> float:
    """d' of the scores (AAPM report 233, section 4.3)."""
    spread = np.sqrt((with_disc.var(ddof=1) + without.var(ddof=1)) / 2)
    return float((with_disc.mean() - without.mean()) / spread)


def ratio(ours: tuple[Values, Values], other: tuple[Values, Values]) -> tuple[float, float, float]:
    """(d' over that of another method on the same noise, lower and upper end of its 95 % interval), by bootstrap."""
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES):
        chosen = random.integers(len(ours[0]), size=len(ours[0]))
        drawn.append(detectability(*(s[chosen] for s in ours)) / detectability(*(s[chosen] for s in other)))
    low, high = np.percentile(drawn, (2.5, 97.5))
    return detectability(*ours) / detectability(*other), float(low), float(high)
