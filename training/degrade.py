"""From a high image to a low one, step by step: each step is a table in the configuration's `degrade`.

A step knows the scale, what one stored value is worth, and the image's own range: noise and JPEG are relative to that
range, not to what the container could hold.
"""

from __future__ import annotations

import io
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Floats = NDArray[np.float32]
Share = Annotated[float, Field(ge=0, le=1)]
SMOOTH = np.array([0.25, 0.5, 0.25], np.float32)  # what a scintillator does to the quanta, roughly


class Scene(NamedTuple):
    """What a step may know, in the units of the image's values."""

    scale: int
    dark: float  # where the image's own range begins
    span: float  # its width
    floor: float  # the lowest value that can be stored
    ceiling: float  # the highest
    value: float  # one stored value
    random: np.random.Generator


def scene_of(image: NDArray[Any], peak: int, scale: int, random: np.random.Generator) -> Scene:
    """Of an image in stored values from 0 to `peak`."""
    dark, bright = float(image.min()), float(image.max())
    return Scene(scale, dark, bright - dark, 0.0, float(peak), 1.0, random)


class Step(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AreaMean(Step):
    """What a detector with s times larger elements would have measured."""

    step: Literal["area_mean"] = "area_mean"

    def apply(self, image: Floats, scene: Scene) -> Floats:
        height, width = image.shape[0] // scene.scale, image.shape[1] // scene.scale
        means: Floats = image.reshape(height, scene.scale, width, scene.scale).mean(axis=(1, 3), dtype=np.float32)
        return means


class Bicubic(Step):
    """Antialiased bicubic, as Pillow and MATLAB shrink."""

    step: Literal["bicubic"] = "bicubic"

    def apply(self, image: Floats, scene: Scene) -> Floats:
        size = (image.shape[1] // scene.scale, image.shape[0] // scene.scale)
        return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC), dtype=np.float32)


class Noise(Step):
    """Noise as a detector makes it: of the quanta, its variance growing with the signal, and of the read-out.

    Strengths are standard deviations as shares of the image's own range, drawn evenly between zero and these; that of
    the quanta is the one at the range's bright end. Half of the noise is white, half smoothed as by a scintillator.
    """

    step: Literal["noise"] = "noise"
    chance: Share = 1.0
    quanta: Share = 0.02
    readout: Share = 0.01

    def apply(self, image: Floats, scene: Scene) -> Floats:
        random = scene.random
        if random.random() >= self.chance:
            return image
        quanta, readout = (float(strength * scene.span * random.random()) for strength in (self.quanta, self.readout))
        noise = random.standard_normal(image.shape, dtype=np.float32)
        if random.random() < 0.5:
            noise = _smoothed(noise)
        bright = ((image - np.float32(scene.dark)) / np.float32(max(scene.span, scene.value))).clip(0, None)
        noisy: Floats = image + noise * np.sqrt(np.float32(quanta**2) * bright + np.float32(readout**2))
        return noisy.clip(scene.floor, scene.ceiling)


class Quantise(Step):
    """Whole stored values."""

    step: Literal["quantise"] = "quantise"

    def apply(self, image: Floats, scene: Scene) -> Floats:
        floor, value = np.float32(scene.floor), np.float32(scene.value)
        whole: Floats = floor + np.rint((image - floor) / value) * value
        return whole.clip(scene.floor, scene.ceiling)


class Jpeg(Step):
    """Baseline JPEG of a quality drawn between two ends; the image's own range is brought to 8 bits for it."""

    step: Literal["jpeg"] = "jpeg"
    chance: Share = 1.0
    quality: tuple[Annotated[int, Field(ge=1, le=100)], Annotated[int, Field(ge=1, le=100)]] = (70, 95)

    def apply(self, image: Floats, scene: Scene) -> Floats:
        if scene.random.random() >= self.chance:
            return image
        file = io.BytesIO()
        quality = int(scene.random.integers(min(self.quality), max(self.quality) + 1))
        dark, bright = image.min(), image.max()
        step = max(bright - dark, np.float32(scene.value)) / np.float32(255)
        Image.fromarray(np.rint((image - dark) / step).astype(np.uint8)).save(file, "JPEG", quality=quality)
        return np.asarray(dark + np.asarray(Image.open(file), np.float32) * step, np.float32)


SHRINKING = (AreaMean, Bicubic)


def _smoothed(noise: Floats) -> Floats:
    """Along both axes, with its variance kept."""
    for _ in range(2):
        padded = np.pad(noise, ((1, 1), (0, 0)), mode="wrap")
        noise = (SMOOTH[0] * padded[:-2] + SMOOTH[1] * padded[1:-1] + SMOOTH[2] * padded[2:]).T
    kept: Floats = np.ascontiguousarray(noise) / np.float32((SMOOTH**2).sum())
    return kept


def _table(value: Any) -> Any:
    return {"step": value} if isinstance(value, str) else value


Degradation = Annotated[
    Annotated[AreaMean | Bicubic | Noise | Quantise | Jpeg, Field(discriminator="step")], BeforeValidator(_table)
]


def degrade(high: Floats, steps: tuple[Degradation, ...], scene: Scene) -> Floats:
    """Apply the steps in order: (sH, sW) -> (H, W)."""
    for step in steps:
        high = step.apply(high, scene)
    return high


def degrade_stored(high: NDArray[Any], steps: tuple[Degradation, ...], scene: Scene) -> NDArray[Any]:
    """The same for stored values, and in whole ones: (sH, sW) -> (H, W), same dtype."""
    return degrade(high.astype(np.float32), (*steps, Quantise()), scene).astype(high.dtype)
