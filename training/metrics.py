"""Image quality against a reference; 8-bit stored values, (H, W) arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve, uniform_filter
from skimage.metrics import structural_similarity

PEAK = 255.0
Image = NDArray[Any]


def psnr(image: Image, reference: Image) -> float:
    """Peak signal to noise ratio in dB; infinite for equal images."""
    error = float(np.mean((image.astype(np.float64) - reference.astype(np.float64)) ** 2))
    return math.inf if error == 0 else 10 * math.log10(PEAK**2 / error)


def ssim(image: Image, reference: Image) -> float:
    """Structural similarity with the Gaussian window of 11 pixels, sigma 1.5 (Wang et al. 2004)."""
    value = structural_similarity(
        image.astype(np.float64),
        reference.astype(np.float64),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=PEAK,
    )
    return float(value)


def gmsd(image: Image, reference: Image) -> float:
    """Gradient magnitude similarity deviation, lower is better (Xue et al. 2014, equations 4 to 6; c = 170)."""
    prewitt = np.array([[1, 0, -1]] * 3) / 3

    def gradient(pixels: Image) -> Image:
        half = uniform_filter(pixels.astype(np.float64), 2)[::2, ::2]
        return np.hypot(convolve(half, prewitt), convolve(half, prewitt.T))

    ours, theirs = gradient(image), gradient(reference)
    similarity = (2 * ours * theirs + 170) / (ours**2 + theirs**2 + 170)
    return float(similarity.std())
