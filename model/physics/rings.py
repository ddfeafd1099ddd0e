"""Scanning Fourier ring correlation (arXiv 2603.04673): where does an image say what the original does not?"""

from __future__ import annotations

import numpy as np

from model.physics.phantoms import Values

PATCH = 64  # high pixels
THRESHOLD = 0.5  # of the correlation
QUIET = 1.0  # stored values of deviation: flatter patches hold nothing that could be told


def disagreeing(result: Values, original: Values, scale: int) -> tuple[int, int]:
    """(patches that disagree with the original, patches): those whose correlation falls below the threshold in a ring
    that the low image still holds, below half its sampling frequency."""
    taper = np.outer(np.hanning(PATCH), np.hanning(PATCH))
    frequency = np.hypot(np.fft.fftfreq(PATCH)[:, None], np.fft.rfftfreq(PATCH)[None])
    ring = np.rint(frequency * PATCH).astype(int)
    last = PATCH // (2 * scale)
    unlike = total = 0
    for top in range(0, original.shape[0] - PATCH + 1, PATCH // 2):
        for left in range(0, original.shape[1] - PATCH + 1, PATCH // 2):
            there = np.s_[top : top + PATCH, left : left + PATCH]
            if original[there].std() < QUIET:
                continue
            ours, theirs = (np.fft.rfft2((image[there] - image[there].mean()) * taper) for image in (result, original))
            total += 1
            unlike += bool((_correlation(ours, theirs, ring)[1:last] < THRESHOLD).any())
    return unlike, total


def _correlation(one: np.ndarray, other: np.ndarray, ring: np.ndarray) -> Values:
    def summed(values: np.ndarray) -> Values:
        return np.bincount(ring.ravel(), weights=values.ravel()).astype(np.float64)

    cross = summed((one * other.conj()).real)
    return np.asarray(cross / np.sqrt(np.maximum(summed(np.abs(one) ** 2) * summed(np.abs(other) ** 2), 1e-30)))
