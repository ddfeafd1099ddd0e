"""Named, composable steps from a high image to its low one: floats in stored values, (N, C, sH, sW) -> (N, C, H, W)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor
from torch.nn import functional as F


def area_mean(image: Tensor, scale: int) -> Tensor:
    """What a detector with s times larger elements would have measured."""
    return F.avg_pool2d(image, scale)


def quantise(image: Tensor, scale: int) -> Tensor:
    """Whole stored values."""
    return image.round()


DEGRADATIONS: dict[str, Callable[[Tensor, int], Tensor]] = {"area_mean": area_mean, "quantise": quantise}


def degrade(high: Tensor, steps: Iterable[str], scale: int) -> Tensor:
    """Apply the named steps in order."""
    for step in steps:
        high = DEGRADATIONS[step](high, scale)
    return high
