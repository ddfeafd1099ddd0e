"""Batches of crops, each a pure function of (seed, draw, index).

So a resumed run sees exactly what the uninterrupted one would have seen, with any number of workers, and several
processes share out what one would have drawn.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from model.intensity import Window
from training import augment, phantoms
from training.config import TrainingConfig, View
from training.degrade import AreaMean, Scene, degrade
from training.images import Pixels, Radiograph

ZOOM = 2.0  # the most that the "zoom" augmentation shrinks a region
ZOOMED = 1 / 3  # the share of crops that it takes
PHANTOM_PEAK = np.float32(4095)  # stored values
AHEAD = 4  # batches that each worker prepares


@dataclass(frozen=True)
class Batch:
    """Crops and their low images on the network's scale, where -1 and 1 are the ends of each image's window."""

    high: Tensor  # (N, 1, crop, crop)
    low: Tensor  # (N, 1, crop / scale, crop / scale)
    share: Tensor  # (N, 1, 1, 1) on [0, 1]: where the gradient penalty looks

    def __len__(self) -> int:
        return len(self.high)

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        return Batch(*(getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)))

    def pin_memory(self) -> Batch:
        """The same in page-locked memory; the loader calls it."""
        return Batch(*(getattr(self, field.name).pin_memory() for field in fields(self)))

    def split(self, parts: int) -> Iterator[Batch]:
        """Equal parts, for gradient accumulation."""
        size = len(self) // parts
        for start in range(0, len(self), size):
            yield Batch(*(getattr(self, field.name)[start : start + size] for field in fields(self)))


class Batches(Dataset[Batch]):
    """The batches of a run, by draw: one for each content step, then `critic_steps + 1` for each adversarial one."""

    def __init__(self, images: Sequence[Radiograph], config: TrainingConfig, *, rank: int = 0) -> None:
        self._config, self._rank = config, rank
        self._wholes = [image for image in images if image.serves("whole")]
        self._parts = [image for image in images if image.serves("native")]
        shares = {view: share for view, share in config.data.shares.items() if share}
        self._views, self._shares = list(shares), np.cumsum(list(shares.values()))
        areas = np.cumsum([np.prod(image.shape) for image in self._parts], dtype=np.float64)
        self._area = areas / areas[-1] if len(areas) else areas

    def __getitem__(self, draw: int) -> Batch:
        content = draw < self._config.content.steps
        size = self._config.content.batch if content else self._config.adversarial.batch
        first = self._rank * size
        return _batch([self._sample(draw, index) for index in range(first, first + size)])

    def first(self, step: int) -> int:
        """The draw that a step begins with."""
        content = self._config.content.steps
        return min(step, content) + max(0, step - content) * (self._config.adversarial.critic_steps + 1)

    def loader(self, step: int, device: torch.device) -> Iterator[Batch]:
        """The batches from a step to the end of the run, prepared ahead by workers if the configuration says so."""
        workers = self._config.data.workers
        return iter(
            DataLoader(
                self,
                batch_size=None,
                sampler=range(self.first(step), self.first(self._config.steps)),
                num_workers=workers,
                prefetch_factor=AHEAD if workers else None,
                worker_init_fn=_stay,
                pin_memory=device.type == "cuda",
            )
        )

    def _sample(self, draw: int, index: int) -> tuple[Pixels, Pixels, float]:
        """(crop, its low image, share), both on the network's scale."""
        random = np.random.default_rng((self._config.seed, draw, index))
        data, scale = self._config.data, self._config.generator.scale
        view = self._views[int(np.searchsorted(self._shares, random.random(), side="right"))]
        if view == "phantom":
            high, low = self._phantom(random)
            window = Window.of(low)
            return window.to_unit(high), window.to_unit(low), float(random.random())
        image = self._image(view, random)
        region = _region(image.view(view), data.crop, random, zoom="zoom" in data.augment)
        window = image.window
        high = window.to_unit(augment.oriented(region, data.augment, random))
        high = augment.toned(high, data.augment, random)
        value = abs(1 / window.half_width) * augment.depth(image.peak, data.augment, random)
        ends = sorted(float(v) for v in window.to_unit(np.array([0, image.peak])))
        scene = Scene(scale, -1.0, 2.0, ends[0], ends[1], value, random)
        low = degrade(high, self._config.degrade, scene)
        shift, stretch = augment.contrast(data.augment, random)
        return (high - shift) / stretch, (low - shift) / stretch, float(random.random())

    def _image(self, view: View, random: np.random.Generator) -> Radiograph:
        """Whole images are equally likely; of parts, each native pixel is."""
        if view == "native":
            return self._parts[int(np.searchsorted(self._area, random.random()))]
        return self._wholes[int(random.integers(len(self._wholes)))]

    def _phantom(self, random: np.random.Generator) -> tuple[Pixels, Pixels]:
        """(high, low) in the stored values of some detector."""
        data = self._config.data
        high = PHANTOM_PEAK * phantoms.draw(
            data.crop, self._config.generator.scale, random, data.bars_share, data.bars_above
        )
        dark, span = float(high.min()), float(np.ptp(high)) or 1.0
        value = span * 2.0 ** -int(random.integers(8, augment.DEEPEST + 1))
        scene = Scene(self._config.generator.scale, dark, span, -np.inf, np.inf, value, random)
        low = AreaMean().apply(high, scene)
        low += random.standard_normal(low.shape, dtype=np.float32) * np.float32(span * phantoms.noise_level(random))
        return high, (np.rint(low / np.float32(value)) * np.float32(value)).astype(np.float32)


def _stay(_: int) -> None:
    """A signal to all processes is for the training process, which still needs the workers to finish its step."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _region(pixels: Pixels, size: int, random: np.random.Generator, *, zoom: bool) -> NDArray[np.float32]:
    """A random square, (size, size) in stored values; with zoom, a larger one that is shrunk to it."""
    side = size
    if zoom and random.random() < ZOOMED:
        side = int(size * random.uniform(1, max(1.0, min(ZOOM, min(pixels.shape) / size))))
    top, left = (int(random.integers(length - side + 1)) for length in pixels.shape)
    region = pixels[top : top + side, left : left + side].astype(np.float32)
    if side == size:
        return region
    return np.asarray(Image.fromarray(region).resize((size, size), Image.Resampling.BICUBIC))


def _batch(samples: Sequence[tuple[Pixels, Pixels, float]]) -> Batch:
    high, low = (torch.from_numpy(np.stack(part)).unsqueeze(1) for part in list(zip(*samples, strict=True))[:2])
    return Batch(high, low, torch.tensor([share for *_, share in samples]).view(-1, 1, 1, 1))
