"""The one door to the model: numpy arrays in stored values go in, numpy arrays in stored values come out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from model import checkpoint, consistency, orientation, tiles
from model.checkpoint import Card, Generators
from model.generator import Generator
from model.intensity import Window

BATCH_PIXELS = 128 * 128 * 4  # low pixels in one forward pass: bounds memory, whatever the image size


MOST_HALVINGS = 3  # of the tiles, when the device has too little memory


class DeviceLost(RuntimeError):
    """The device failed in a way that only a new process mends: a CUDA error stays for good."""


class NotFinite(ArithmeticError):
    """The generator answered with a value that is not a number; nothing of it may be used."""


class Upscaler:
    """The generators of some weights on a device, one for each scale, with their card.

    >>> upscaler = Upscaler.load("auto")  # doctest: +SKIP
    >>> high = upscaler.upscale(array, scale=4)  # (H, W) -> (4H, 4W), same dtype  # doctest: +SKIP
    """

    def __init__(self, generators: Generators, card: Card, device: torch.device, precision: str = "float32") -> None:
        self.card = card
        self.device = device
        self.precision = precision  # of the network's arithmetic: float32 or bfloat16
        self._generators = {scale: generator.to(device).eval() for scale, generator in generators.items()}

    @classmethod
    def load(cls, name: str = "auto", device: str = "auto", precision: str = "auto") -> Upscaler:
        """Weights by name or path; device `auto`, `cpu` or `cuda`; precision `auto`, `float32` or `bfloat16`.

        Raises CheckpointError; ValueError for a device or a precision that is not there.
        """
        chosen = choose_device(device)
        path = checkpoint.find(checkpoint.default_name(chosen) if name == "auto" else name)
        return cls(*checkpoint.load(path), chosen, choose_precision(precision, chosen))

    @property
    def scales(self) -> tuple[int, ...]:
        """The scales these weights serve, largest first."""
        return tuple(sorted(self._generators, reverse=True))

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
        lying = orientation.canonical(array, inverted=inverted)
        seen = np.ascontiguousarray(lying.apply(array))
        for halvings in range(MOST_HALVINGS + 1):
            try:
                result = self._upscale(seen, scale, window, value_range, padding, progress, halvings)
                return np.ascontiguousarray(lying.undo(result))
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
        tile = self.card.tile >> halvings
        for row, high in tiles.strips(
            window.to_unit(array),
            partial(self._run, self._generators[scale]),
            scale=scale,
            tile=tile,
            overlap=min(self.card.overlap, tile // 3),
            batch_pixels=BATCH_PIXELS >> 2 * halvings,
        ):
            if not np.isfinite(high).all():
                raise NotFinite(f"{self.card.identity} answered with a value that is not finite")
            last = row + len(high) // scale
            exact = consistency.enforce(
                window.to_stored(high), array[row:last], value_range=value_range, padding=padding
            )
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
    def _run(self, generator: Generator, low: NDArray[np.float32]) -> NDArray[np.float32]:
        """(T, h, w) -> (T, s*h, s*w), both on [-1, 1]; three-channel generators see the gray image three times."""
        channels = self.card.architecture.channels
        tensor = torch.from_numpy(low).to(self.device).unsqueeze(1).expand(-1, channels, -1, -1)
        half = self.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            high: torch.Tensor = generator(tensor.contiguous(memory_format=torch.channels_last))
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


def choose_precision(precision: str, device: torch.device) -> str:
    """`auto` takes bfloat16 where there are matrix units for it. Raises ValueError."""
    if precision not in ("auto", "float32", "bfloat16"):
        raise ValueError(f"precision must be auto, float32 or bfloat16, not {precision!r}")
    if precision == "auto":
        return "bfloat16" if checkpoint.has_matrix_units(device) else "float32"
    return precision


def _limits(dtype: np.dtype[Any]) -> tuple[int, int]:
    if dtype.kind not in "iu":
        raise ValueError(f"expected integers, not {dtype}")
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)
