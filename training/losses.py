"""The losses, each one formula."""

from __future__ import annotations

from torch import Tensor


def pixel_loss(result: Tensor, high: Tensor) -> Tensor:
    """Mean absolute error of each sample: (N, C, H, W), (N, C, H, W) -> (N,)."""
    return (result - high).abs().flatten(1).mean(dim=1)


def relative_pixel_loss(result: Tensor, high: Tensor, baseline: Tensor, floor: float = 0.01) -> Tensor:
    """The pixel loss over that of a baseline, so that a soft radiograph counts as much as a contrasty one: -> ()."""
    return (pixel_loss(result, high) / (pixel_loss(baseline, high) + floor)).mean()
