"""What the upscaler needs of whatever runs the generators: one function, and how it may fail."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class NoRoom(MemoryError):
    """The device has too little memory for these tiles; smaller ones may fit."""


class DeviceLost(RuntimeError):
    """The device failed in a way that only a new process mends: a CUDA error stays for good."""


class Backend(Protocol):
    """The generators of some weights, ready on a device."""

    @property
    def scales(self) -> tuple[int, ...]:
        """Those it has a generator for, largest first."""

    @property
    def device(self) -> str:
        """For people: cpu, cuda, ..."""

    @property
    def recipe(self) -> str:
        """How it computes, in one or two words: derived UIDs are made of it.

        Another backend or precision that may give other pixels has another recipe.
        """

    def run(self, scale: int, low: NDArray[np.float32]) -> NDArray[np.float32]:
        """(T, h, w) -> (T, scale * h, scale * w), both on [-1, 1]. Raises NoRoom, DeviceLost."""
