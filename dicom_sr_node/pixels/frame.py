"""One image's pixels in stored values, with what is needed to treat them rightly."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
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

    @property
    def sha256(self) -> str:
        """The hash of shape, type and stored values, whatever the transfer syntax was."""
        values = np.ascontiguousarray(self.values, self.values.dtype.newbyteorder("<"))
        head = f"{values.dtype.str}{values.shape}".encode()
        return hashlib.sha256(head + values.tobytes()).hexdigest()
