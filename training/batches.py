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
from training.config import TrainingConfig
from training.degrade import Scene, degrade
from training.images import Pixels, Radiograph

ZOOM = 2.0  # the most that the "zoom" augmentation shrinks a region
CONTRAST = 0.2  # of the window's half width, for the "contrast" augmentation
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
        self._images, self._config, self._rank = images, config, rank
        areas = np.cumsum([np.prod(image.shape) for image in images], dtype=np.float64)
        self._area = areas / areas[-1]  # each native pixel is equally likely

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
        whole = random.random() < data.whole_share
        chosen = int(random.integers(len(self._images))) if whole else int(np.searchsorted(self._area, random.random()))
        image = self._images[chosen]
        crop = _region(image.whole if whole else image.pixels, data.crop, random, zoom="zoom" in data.augment)
        if "flip" in data.augment and random.random() < 0.5:
            crop = crop[:, ::-1]
        if "turn" in data.augment:
            crop = np.rot90(crop, int(random.integers(4)))
        crop = np.ascontiguousarray(crop)
        low = degrade(crop, self._config.degrade, Scene(scale, image.peak, random))
        window = _jitter(image.window, random) if "contrast" in data.augment else image.window
        return window.to_unit(crop), window.to_unit(low), float(random.random())


def _stay(_: int) -> None:
    """A signal to all processes is for the training process, which still needs the workers to finish its step."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _region(pixels: Pixels, size: int, random: np.random.Generator, *, zoom: bool) -> NDArray[np.float32]:
    """A random square, (size, size) in stored values; with zoom, a larger one that is shrunk to it."""
    side = size
    if zoom:
        side = int(size * random.uniform(1, max(1.0, min(ZOOM, min(pixels.shape) / size))))
    top, left = (int(random.integers(length - side + 1)) for length in pixels.shape)
    region = pixels[top : top + side, left : left + side].astype(np.float32)
    if side == size:
        return region
    return np.asarray(Image.fromarray(region).resize((size, size), Image.Resampling.BICUBIC))


def _jitter(window: Window, random: np.random.Generator) -> Window:
    shift, stretch = random.uniform(-CONTRAST, CONTRAST, 2) * window.half_width
    return Window(window.dark + shift - stretch, window.bright + shift + stretch)


def _batch(samples: Sequence[tuple[Pixels, Pixels, float]]) -> Batch:
    high, low = (torch.from_numpy(np.stack(part)).unsqueeze(1) for part in list(zip(*samples, strict=True))[:2])
    return Batch(high, low, torch.tensor([share for *_, share in samples]).view(-1, 1, 1, 1))
