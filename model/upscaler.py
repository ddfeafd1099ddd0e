"""The one door to the model: numpy arrays in stored values go in, numpy arrays in stored values come out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model import checkpoint, consistency, tiles
from model.checkpoint import Card
from model.generator import Generator
from model.intensity import Window

BATCH_PIXELS = 128 * 128 * 4  # low pixels in one forward pass: bounds memory, whatever the image size


MOST_HALVINGS = 3  # of the tiles, when the device has too little memory


class DeviceLost(RuntimeError):
    """The device failed in a way that only a new process mends: a CUDA error stays for good."""


class NotFinite(ArithmeticError):
    """The generator answered with a value that is not a number; nothing of it may be used."""


class Upscaler:
    """A generator on a device, with its card.

    >>> upscaler = Upscaler.load("auto")  # doctest: +SKIP
    >>> high = upscaler.upscale(array, scale=4)  # (H, W) -> (4H, 4W), same dtype  # doctest: +SKIP
    """

    def __init__(self, generator: Generator, card: Card, device: torch.device) -> None:
        self.card = card
        self.device = device
        self._generator = generator.to(device).eval()

    @classmethod
    def load(cls, name: str = "auto", device: str = "auto") -> Upscaler:
        """Weights by name, by path, or `auto`; device `auto`, `cpu` or `cuda`. Raises CheckpointError."""
        chosen = choose_device(device)
        path = checkpoint.find(checkpoint.default_name(chosen) if name == "auto" else name)
        generator, card = checkpoint.load(path)
        return cls(generator, card, chosen)

    @property
    def scales(self) -> tuple[int, ...]:
        """The scales this generator serves, largest first: its own, and the halves down to 2."""
        own = self.card.architecture.scale
        return tuple(own >> shift for shift in range(own.bit_length() - 1))

    def upscale(
        self,
        array: NDArray[Any],
        scale: int = 4,
        *,
        value_range: tuple[int, int] | None = None,
        padding: tuple[int, int] | None = None,
        inverted: bool = False,
        progress: Callable[[float], None] = lambda fraction: None,
    ) -> NDArray[Any]:
        """(H, W) integers -> (scale * H, scale * W) of the same dtype, whose block means are `array`, bit for bit.

        value_range: the lowest and highest value a result may take (default: all that the dtype holds).
        padding: pixel padding values, first and last; they stay where they are. inverted: MONOCHROME1.
        progress: called with the finished fraction. Raises ValueError for an array or a scale it does not serve,
        NotFinite, DeviceLost; MemoryError where even the smallest tiles find no room on the device.
        """
        value_range = value_range or _limits(array.dtype)
        real = array if padding is None else array[(array < padding[0]) | (array > padding[1])]
        self._check(array, real, scale, value_range)
        window = Window.of(real, inverted=inverted)
        for halvings in range(MOST_HALVINGS + 1):
            try:
                return self._upscale(array, scale, window, value_range, padding, progress, halvings)
            except torch.OutOfMemoryError:
                pass  # the error holds the tensors: they are freed when it is gone
            except torch.AcceleratorError as error:
                raise DeviceLost(f"{self.device}: {type(error).__name__}") from error
            torch.cuda.empty_cache()
        raise MemoryError(f"{self.device} has no room for tiles of {self.card.tile >> MOST_HALVINGS} pixels")

    def _upscale(
        self,
        array: NDArray[Any],
        scale: int,
        window: Window,
        value_range: tuple[int, int],
        padding: tuple[int, int] | None,
        progress: Callable[[float], None],
        halvings: int,
    ) -> NDArray[Any]:
        height, width = array.shape
        result = np.empty((height * scale, width * scale), array.dtype)
        own, tile = self.card.architecture.scale, self.card.tile >> halvings
        for row, high in tiles.strips(
            window.to_unit(array),
            self._run,
            scale=own,
            tile=tile,
            overlap=min(self.card.overlap, tile // 3),
            batch_pixels=BATCH_PIXELS >> 2 * halvings,
        ):
            if not np.isfinite(high).all():
                raise NotFinite(f"{self.card.identity} answered with a value that is not finite")
            last = row + len(high) // own
            stored = _mean(window.to_stored(high), own // scale)
            exact = consistency.enforce(stored, array[row:last], value_range=value_range, padding=padding)
            result[row * scale : last * scale] = exact
            progress(last / height)
        return result

    def _check(self, array: NDArray[Any], real: NDArray[Any], scale: int, value_range: tuple[int, int]) -> None:
        if array.ndim != 2 or not array.size or array.dtype.kind not in "iu" or array.dtype.itemsize > 2:
            raise ValueError(f"expected a 2-D array of 8 or 16 bit integers, not {array.dtype} of shape {array.shape}")
        if scale not in self.scales:
            raise ValueError(f"{self.card.identity} upscales by {self.scales}, not by {scale}")
        if real.size and (real.min() < value_range[0] or real.max() > value_range[1]):
            raise ValueError(
                f"values {real.min()} to {real.max()} leave the stored range {value_range[0]} to {value_range[1]}"
            )

    @torch.inference_mode()
    def _run(self, low: NDArray[np.float32]) -> NDArray[np.float32]:
        """(T, h, w) -> (T, s*h, s*w), both on [-1, 1]; three-channel generators see the gray image three times."""
        channels = self.card.architecture.channels
        tensor = torch.from_numpy(low).to(self.device).unsqueeze(1).expand(-1, channels, -1, -1)
        high: torch.Tensor = self._generator(tensor.contiguous(memory_format=torch.channels_last))
        result: NDArray[np.float32] = high.float().mean(dim=1).cpu().numpy()
        return result


def choose_device(device: str) -> torch.device:
    """`auto` takes a GPU where there is one. Raises ValueError."""
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be auto, cpu or cuda, not {device!r}")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is cuda, but this machine offers no CUDA device; use auto or cpu")
    return torch.device(device)


def _limits(dtype: np.dtype[Any]) -> tuple[int, int]:
    if dtype.kind not in "iu":
        raise ValueError(f"expected integers, not {dtype}")
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def _mean(image: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """(f*H, f*W) -> (H, W): means of f x f; x2 results are 2x2 means of the x4 result."""
    if factor == 1:
        return image
    height, width = image.shape
    means: NDArray[np.float32] = image.reshape(height // factor, factor, width // factor, factor).mean(axis=(1, 3))
    return means
