"""Image quality against a reference: (H, W) arrays of stored values.

All is relative to the reference's own range, from its lowest to its highest value: what a container could hold says
nothing of an image. A constant reference has no range, and nothing is measured on it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve, gaussian_filter, uniform_filter
from skimage.metrics import structural_similarity

Image = NDArray[Any]
SHAVE = 4  # pixels: the border that the second PSNR leaves out
CEILING = 100.0  # dB
SMALLEST = 32  # pixels: below, the windows of the metrics do not fit
RINGS = 24  # of spatial frequency, for the spectrum
RESAMPLES = 2000  # of the bootstrap


def psnr(image: Image, reference: Image) -> float:
    """Peak signal to noise ratio in dB, at most 100: what equal images get, so that a mean can be taken."""
    error = float(np.mean((image.astype(np.float64) - reference.astype(np.float64)) ** 2))
    return CEILING if error == 0 else min(CEILING, 10 * math.log10(_range(reference) ** 2 / error))


def _range(reference: Image) -> float:
    """Raises ValueError for a constant image."""
    span = float(reference.max()) - float(reference.min())
    if not span:
        raise ValueError("the image is constant: there is nothing to measure on")
    return span


def shaved(image: Image) -> Image:
    """Without its border, where publishers leave black lines: (H, W) -> (H - 8, W - 8)."""
    return image[SHAVE:-SHAVE, SHAVE:-SHAVE]


def ssim(image: Image, reference: Image) -> float:
    """Structural similarity with the Gaussian window of 11 pixels, sigma 1.5 (Wang et al. 2004)."""
    value = structural_similarity(
        image.astype(np.float64),
        reference.astype(np.float64),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=_range(reference),
    )
    return float(value)


def gmsd(image: Image, reference: Image) -> float:
    """Gradient magnitude similarity deviation, lower is better (Xue et al. 2014, equations 4 to 6; c = 170)."""
    to_8_bits = 255 / _range(reference)
    prewitt = np.array([[1, 0, -1]] * 3) / 3

    def gradient(pixels: Image) -> Image:
        half = uniform_filter(pixels * to_8_bits, 2)[::2, ::2]
        return np.hypot(convolve(half, prewitt), convolve(half, prewitt.T))

    ours, theirs = gradient(image), gradient(reference)
    similarity = (2 * ours * theirs + 170) / (ours**2 + theirs**2 + 170)
    return float(similarity.std())


def detail(image: Image, reference: Image) -> float:
    """How much fine detail there is, as a share of the reference's: the ratio of what a Gaussian of one pixel removes.

    It says nothing about whether the detail is right; read it beside PSNR and GMSD.
    """

    def energy(pixels: Image) -> float:
        values = pixels.astype(np.float64)
        return float((values - gaussian_filter(values, 1)).std())

    return energy(image) / max(energy(reference), 1e-9)


def spectrum(image: Image, reference: Image) -> float:
    """How far the radial power spectrum is from the reference's, in dB: the mean over frequencies, lower is better.

    Blur lacks power at high frequencies and invented grain has too much of it, whatever the features of a network say:
    this is why texture is judged by it, beside GMSD.
    """
    taper = np.outer(np.hanning(image.shape[0]), np.hanning(image.shape[1]))
    frequency = np.hypot(np.fft.fftfreq(image.shape[0])[:, None], np.fft.rfftfreq(image.shape[1])[None])
    ring = np.minimum(frequency / 0.5 * RINGS, RINGS).astype(int).ravel()

    def power(pixels: Image) -> Image:
        values = (pixels - pixels.mean()) * taper
        return np.bincount(ring, weights=(np.abs(np.fft.rfft2(values)) ** 2).ravel())[1:RINGS]

    ratio = (power(image) + 1e-6) / (power(reference) + 1e-6)
    return float(np.abs(10 * np.log10(ratio)).mean())


def quality(image: Image, reference: Image) -> dict[str, float]:
    """What is told of every result, by name. Raises ValueError for a constant reference."""
    return {
        "psnr": psnr(image, reference),
        "ssim": ssim(image, reference),
        "gmsd": gmsd(image, reference),
        "detail": detail(image, reference),
        "spectrum": spectrum(image, reference),
    }


def consistency_error(image: Image, low: Image) -> float:
    """The largest distance of a block's mean from the low pixel, in stored values: (sH, sW), (H, W)."""
    scale = image.shape[0] // low.shape[0]
    means = image.astype(np.float64).reshape(low.shape[0], scale, low.shape[1], scale).mean(axis=(1, 3))
    return float(np.abs(means - low).max())


def interval(differences: Sequence[float], groups: Sequence[str], percent: float = 95) -> tuple[float, float]:
    """Bootstrap interval of a mean paired difference, resampling patients, not images (Efron & Tibshirani 1993)."""
    names, which = np.unique(np.array(groups), return_inverse=True)
    sums = np.bincount(which, weights=np.array(differences, dtype=np.float64))
    counts = np.bincount(which)
    drawn = np.random.default_rng(0).integers(len(names), size=(RESAMPLES, len(names)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    tail = (100 - percent) / 2
    low, high = np.percentile(means, (tail, 100 - tail))
    return float(low), float(high)
