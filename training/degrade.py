"""Named, composable steps from a high image to its low one.

Each step is a configuration table (`{ step = "jpeg", quality = [60, 95] }`; its bare name takes the defaults) and a
function of one image: (H, W) float32 in stored values -> (H, W), or (H / scale, W / scale) for the two that shrink.
"""

from __future__ import annotations

import io
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Floats = NDArray[np.float32]


class Scene(NamedTuple):
    """What a step may know: the factor, the highest stored value, and its own chance."""

    scale: int
    peak: float
    random: np.random.Generator


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
    """Poisson noise of the quanta and Gaussian noise of the read-out: variance `gain * value + read**2`."""

    step: Literal["noise"] = "noise"
    gain: Annotated[float, Field(ge=0)] = 0.05  # stored values for one quantum
    read: Annotated[float, Field(ge=0)] = 0.5  # stored values

    def apply(self, image: Floats, scene: Scene) -> Floats:
        noisy: NDArray[np.floating[Any]] = image.astype(np.float64)
        if self.gain:
            noisy = scene.random.poisson(np.maximum(noisy, 0) / self.gain) * self.gain
        noisy += scene.random.normal(0, self.read, image.shape)
        return noisy.clip(0, scene.peak).astype(np.float32)


class Quantise(Step):
    """Whole stored values."""

    step: Literal["quantise"] = "quantise"

    def apply(self, image: Floats, scene: Scene) -> Floats:
        return np.rint(image).clip(0, scene.peak)


class Jpeg(Step):
    """Baseline JPEG of a quality drawn between two ends; deeper images are brought to 8 bits for it."""

    step: Literal["jpeg"] = "jpeg"
    quality: tuple[Annotated[int, Field(ge=1, le=100)], Annotated[int, Field(ge=1, le=100)]] = (70, 95)

    def apply(self, image: Floats, scene: Scene) -> Floats:
        file = io.BytesIO()
        quality = int(scene.random.integers(min(self.quality), max(self.quality) + 1))
        eight_bits = np.rint(image * (255 / scene.peak)).clip(0, 255).astype(np.uint8)
        Image.fromarray(eight_bits).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file), dtype=np.float32) * np.float32(scene.peak / 255)


SHRINKING = (AreaMean, Bicubic)


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
