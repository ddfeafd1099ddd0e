"""The one door to the model: numpy arrays in stored values go in, numpy arrays in stored values come out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model import backends, checkpoint, consistency, orientation, tiles
from model.backend import Backend, NoRoom
from model.checkpoint import Card
from model.intensity import Window

BATCH_PIXELS = 128 * 128 * 4  # low pixels in one forward pass: bounds memory, whatever the image size
MOST_HALVINGS = 3  # of the tiles, when the device has too little memory


class NotFinite(ArithmeticError):
    """The generator answered with a value that is not a number; nothing of it may be used."""


class Upscaler:
    """The generators of some weights on a device, one for each scale, with their card.

    >>> upscaler = Upscaler.load("auto")  # doctest: +SKIP
    >>> high = upscaler.upscale(array, scale=4)  # (H, W) -> (4H, 4W), same dtype  # doctest: +SKIP
    """

    def __init__(self, backend: Backend, card: Card) -> None:
        self.card = card
        self._backend = backend

    @classmethod
    def load(
        cls, name: str = "auto", device: str = "auto", precision: str = "auto", backend: str = backends.DEFAULT
    ) -> Upscaler:
        """Weights by name or path, for a backend of `model.backends`.

        With PyTorch, device is `auto`, `cpu` or `cuda`, precision `auto`, `float32` or `bfloat16`. Raises
        CheckpointError; ValueError for a backend, a device or a precision that is not there.
        """
        kind = backends.backend(backend)
        path = checkpoint.find(kind.default_name(device) if name == "auto" else name)
        return cls(*kind.load(path, device, precision))

    @property
    def scales(self) -> tuple[int, ...]:
        """The scales these weights serve, largest first."""
        return self._backend.scales

    @property
    def device(self) -> str:
        """Where it computes, for people."""
        return self._backend.device

    @property
    def recipe(self) -> str:
        """How it computes: part of what a result depends on."""
        return self._backend.recipe

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
            except NoRoom:
                continue
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
            partial(self._backend.run, scale),
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


def _limits(dtype: np.dtype[Any]) -> tuple[int, int]:
    if dtype.kind not in "iu":
        raise ValueError(f"expected integers, not {dtype}")
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)
