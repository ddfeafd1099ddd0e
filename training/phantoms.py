"""Images drawn by formula, at any position and angle: what chests alone do not show a generator.

Edges, wires, discs, bars, letters, trabecular texture and noise; their pixels are means over the pixel's area, near
enough, because each form is drawn by its distance. Values lie on [0, 1], more is brighter.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

Floats = NDArray[np.float32]
Random = np.random.Generator

FORMS = 6  # at most, in one phantom
LETTERS = "RLABPSC0123456789"


def draw(size: int, scale: int, random: Random, bars_share: float = 0.2, bars_above: float = 0.85) -> Floats:
    """(size, size): one phantom; `scale` is what it will be shrunk by, which decides what line pairs can survive.

    bars_share: the chance of line pairs; bars_above: of those that are too fine for the low image.
    """
    if random.random() < bars_share:
        return _bars(size, scale, random, bars_above)
    image = _ground(size, random)
    for _ in range(int(random.integers(1, FORMS + 1))):
        form = _FORMS[int(random.integers(len(_FORMS)))]
        image += np.float32(random.choice((-1, 1)) * 10 ** random.uniform(-2, 0)) * form(size, random)
    if random.random() < 0.3:
        image = gaussian_filter(image, random.uniform(0.3, 1.5))
    drawn: Floats = image.astype(np.float32)
    return drawn


def overlay(image: NDArray[np.floating], random: Random) -> Floats:
    """What lies on a radiograph without being anatomy: a collimator's edge, or a marker: (H, W) -> same shape."""
    size = min(image.shape)
    if random.random() < 0.5:
        inside = _edge(size, random, softness=random.uniform(0.3, 4))
        dark = np.float32(random.choice((image.min(), image.max(), 0.0)))
        collimated: Floats = (dark + (image - dark) * inside).astype(np.float32)
        return collimated
    form = (_letters, _wire, _disc)[int(random.integers(3))](size, random)
    marked: Floats = (image + form * (np.float32(random.uniform(0.9, 1.3)) - image)).astype(np.float32)
    return marked


def noise_level(random: Random) -> float:
    """Of a phantom, as a share of its range: mostly faint, now and then all there is."""
    return float(0 if random.random() < 0.4 else 10 ** random.uniform(-2.5, 0.3))


def _ground(size: int, random: Random) -> Floats:
    kind = random.random()
    if kind < 0.4:
        return np.full((size, size), random.random(), np.float32)
    if kind < 0.7:  # a ramp
        return np.asarray(random.random() + random.uniform(0, 0.02) * _along(size, random), np.float32)
    spectrum = random.uniform(0.6, 2)  # trabecular: noise whose power falls with frequency
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    white = np.fft.rfft2(random.standard_normal((size, size)))
    texture = np.fft.irfft2(white / np.maximum(frequency, 1 / size) ** spectrum, (size, size))
    return np.asarray(0.5 + texture / (np.abs(texture).max() + 1e-9) / 2, np.float32)


def _along(size: int, random: Random) -> Floats:
    """Pixels along a random direction, from a random line: (size, size)."""
    angle = random.uniform(0, 2 * np.pi) if random.random() < 0.7 else random.integers(4) * np.pi / 2
    centre = random.uniform(0, size, 2)
    rows, columns = np.arange(size, dtype=np.float32)[:, None], np.arange(size, dtype=np.float32)[None]
    return np.asarray((rows - centre[0]) * np.sin(angle) + (columns - centre[1]) * np.cos(angle), np.float32)


def _covered(distance: Floats, softness: float = 1.0) -> Floats:
    """How much of each pixel lies where the distance to an edge is positive."""
    return np.asarray(np.clip(distance / np.float32(softness) + np.float32(0.5), 0, 1), np.float32)


def _edge(size: int, random: Random, softness: float = 1.0) -> Floats:
    return _covered(_along(size, random), max(softness, 1.0))


def _wire(size: int, random: Random) -> Floats:
    half, sag = random.uniform(0.3, 3), random.uniform(-0.01, 0.01)
    turned, across = _along(size, random), _along(size, random)
    return _covered(np.float32(half) - np.abs(turned + np.float32(sag) * across * across / 4)) * np.float32(
        min(1, 2 * half)
    )


def _disc(size: int, random: Random) -> Floats:
    centre, radius = random.uniform(0, size, 2), 10 ** random.uniform(0.2, 1.5)
    rows, columns = np.arange(size)[:, None], np.arange(size)[None]
    distance = np.hypot(rows - centre[0], (columns - centre[1]) * random.uniform(0.7, 1.4))
    return _covered((radius - distance).astype(np.float32))


def _bars(size: int, scale: int, random: Random, bars_above: float) -> Floats:
    """Line pairs. Those above half the sampling frequency of the low image come back as coarser ones.

    A generator that has seen them does not sharpen what may be an alias.
    """
    above = random.random() < bars_above
    frequency = random.uniform(0.5, 0.9) if above else random.uniform(0.1, 0.5)  # cycles per low pixel
    wave = np.sin(2 * np.pi * frequency / scale * _along(size, random))
    if random.random() < 0.3:  # bars with edges
        wave = np.clip(wave * random.uniform(1, 4), -1, 1)
    image = 0.5 + random.uniform(0.02, 0.5) * wave
    return np.asarray(image if random.random() < 0.5 else 0.5 + (image - 0.5) * _disc(size, random), np.float32)


def _ring(size: int, random: Random) -> Floats:
    centre, radius, half = random.uniform(0, size, 2), 10 ** random.uniform(0.5, 1.8), random.uniform(0.5, 3)
    rows, columns = np.arange(size)[:, None], np.arange(size)[None]
    distance = np.hypot(rows - centre[0], columns - centre[1])
    return _covered((half - np.abs(distance - radius)).astype(np.float32))


def _letters(size: int, random: Random) -> Floats:
    picture = Image.new("L", (4 * size, 4 * size))  # drawn four times as fine, then averaged
    text = "".join(random.choice(list(LETTERS), int(random.integers(1, 4))))
    left, top = (float(v) for v in random.integers(0, 4 * size, 2))
    ImageDraw.Draw(picture).text((left, top), text, fill=255, font_size=int(random.integers(24, 160)))
    return np.asarray(picture.reduce(4), np.float32) / np.float32(255)


_FORMS: tuple[Callable[[int, Random], Floats], ...] = (_edge, _edge, _wire, _disc, _disc, _ring, _letters)
