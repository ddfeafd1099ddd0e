"""An image is always seen lying the same way, so that turning or mirroring it turns or mirrors its result, to the bit.

A network trained in all orientations still treats them a little differently. Choosing one by the image's own content
costs nothing and leaves no difference (canonicalisation: Kaba et al. 2023, arXiv 2211.06489).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[Any]


@dataclass(frozen=True)
class Orientation:
    """Mirrored left to right, upside down, and then about the diagonal."""

    mirrored: bool
    upside_down: bool
    transposed: bool

    def apply(self, image: Image) -> Image:
        """(H, W) -> (H, W) or (W, H), a view."""
        image = image[:: -1 if self.upside_down else 1, :: -1 if self.mirrored else 1]
        return image.T if self.transposed else image

    def undo(self, image: Image) -> Image:
        """Back again, a view."""
        image = image.T if self.transposed else image
        return image[:: -1 if self.upside_down else 1, :: -1 if self.mirrored else 1]


ALL = tuple(Orientation(bool(n & 1), bool(n & 2), bool(n & 4)) for n in range(8))


def canonical(image: Image, *, inverted: bool = False) -> Orientation:
    """The orientation in which the image is brightest at the right, and next at the bottom: (H, W) integers.

    inverted: the lowest value is the brightest. Where several orientations are equal in that, their pixels decide;
    where those are equal too, so are the images.
    """
    across, down = _moments(image)
    if inverted:
        across, down = -across, -down
    keys = {orientation: _key(orientation, across, down) for orientation in ALL}
    best = max(keys.values())
    equal = [orientation for orientation, key in keys.items() if key == best]
    return equal[0] if len(equal) == 1 else min(equal, key=lambda orientation: _pixels(orientation, image))


def _moments(image: Image) -> tuple[int, int]:
    """First moments about the middle, in whole numbers: to the right and to the bottom."""
    down = image.sum(axis=1, dtype=np.int64), image.shape[0]
    across = image.sum(axis=0, dtype=np.int64), image.shape[1]
    moments = [int(sums @ (2 * np.arange(length, dtype=np.int64) - (length - 1))) for sums, length in (across, down)]
    return moments[0], moments[1]


def _key(orientation: Orientation, across: int, down: int) -> tuple[int, int]:
    across = -across if orientation.mirrored else across
    down = -down if orientation.upside_down else down
    return (down, across) if orientation.transposed else (across, down)


def _pixels(orientation: Orientation, image: Image) -> tuple[tuple[int, ...], bytes]:
    seen = orientation.apply(image)
    return seen.shape, seen.tobytes()
