"""One image's pixels in stored values, with what is needed to treat them rightly."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Frame:
    """A decoded image."""

    values: NDArray[Any]  # (H, W) stored values, 8 or 16 bit, signed or not
    value_range: tuple[int, int]  # what Bits Stored and Pixel Representation allow, both ends included
    padding: tuple[int, int] | None  # Pixel Padding Value (Range), first and last
    inverted: bool  # MONOCHROME1
    encoded_bytes: int = 0  # the length of the pixel data as received
    overlays: Mapping[int, NDArray[np.bool_]] = field(default_factory=dict)  # group -> (H, W), of unused bits

    @property
    def sha256(self) -> str:
        """The hash of shape, type and stored values, whatever the transfer syntax was."""
        values = np.ascontiguousarray(self.values, self.values.dtype.newbyteorder("<"))
        head = f"{values.dtype.str}{values.shape}".encode()
        return hashlib.sha256(head + values.tobytes()).hexdigest()

    @property
    def measured_range(self) -> tuple[int, int]:
        """The lowest and the highest value that is no padding; of all values if there is nothing else.

        A result keeps within it: where no window is given, viewers stretch what they find between black and white.
        """
        real = self.values[~self.is_padding]
        values = real if real.size else self.values
        return int(values.min()), int(values.max())

    @property
    def is_padding(self) -> NDArray[np.bool_]:
        """(H, W): where a pixel padding value stands."""
        if self.padding is None:
            return np.zeros(self.values.shape, np.bool_)
        mask: NDArray[np.bool_] = (self.values >= self.padding[0]) & (self.values <= self.padding[1])
        return mask
