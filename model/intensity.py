"""Stored values <-> the network's [-1, 1], by one affine window for each image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

TAIL_PERCENT = 0.5  # of the pixels left outside the window at either end: collimator edges, markers, dead pixels


@dataclass(frozen=True)
class Window:
    """Maps the stored value `dark` to -1 and `bright` to +1; values outside go beyond, nothing is clipped.

    MONOCHROME1 (PS3.3 C.7.6.3.1.2: the lowest value is shown white) is a window with `dark > bright`.
    """

    dark: float
    bright: float

    @classmethod
    def of(cls, values: NDArray[Any], *, inverted: bool = False) -> Window:
        """The robust window of an image's stored values (any shape); a flat image gets a window one value wide."""
        if not values.size:
            return cls(0.0, 1.0)
        low, high = (float(v) for v in np.percentile(values, (TAIL_PERCENT, 100 - TAIL_PERCENT)))
        if high <= low:
            low, high = float(values.min()), float(values.max())
        high = max(high, low + 1)
        return cls(high, low) if inverted else cls(low, high)

    @property
    def half_width(self) -> float:
        """Stored values for one unit of the network; negative when inverted."""
        return (self.bright - self.dark) / 2

    def to_unit(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Stored values -> [-1, 1], same shape."""
        centre = (self.bright + self.dark) / 2
        return ((values.astype(np.float32) - np.float32(centre)) / np.float32(self.half_width)).astype(np.float32)

    def to_stored(self, unit: NDArray[np.float32]) -> NDArray[np.float32]:
        """[-1, 1] -> stored values, not yet rounded, same shape."""
        centre = (self.bright + self.dark) / 2
        return (unit * np.float32(self.half_width) + np.float32(centre)).astype(np.float32)
