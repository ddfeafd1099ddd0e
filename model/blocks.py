"""The building blocks of the generator."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a skip: `x + f(x)` (Ledig et al. 2017, SRGAN, section 2.2.1)."""

    def __init__(self, width: int, *, batch_norm: bool) -> None:
        super().__init__()

        def norm() -> list[nn.Module]:
            return [nn.BatchNorm2d(width)] if batch_norm else []

        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=not batch_norm),
            *norm(),
            nn.PReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=not batch_norm),
            *norm(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        out: Tensor = x + self.body(x)
        return out


class UpsamplingBlock(nn.Sequential):
    """Doubles the size by sub-pixel convolution: (N, C, H, W) -> (N, C, 2H, 2W) (Shi et al. 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2), nn.PReLU())


class LastStage(nn.Module):
    """An upsampling block and the last convolution: (N, width, H, W) -> (N, channels, 2H, 2W).

    The same function as `UpsamplingBlock` followed by a convolution, evaluated before the pixel shuffle: each of the
    four positions in a 2x2 block has its own rearrangement of the one kernel, with half its side. The wide features at
    full size, which take most of the time and memory, are never formed.
    """

    def __init__(self, width: int, channels: int, kernel: int) -> None:
        super().__init__()
        self.widen = nn.Conv2d(width, 4 * width, 3, padding=1)
        self.activation = nn.PReLU()
        self.last = nn.Conv2d(width, channels, kernel, padding=kernel // 2)
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) -> (N, channels, 2H, 2W)."""
        weight = _before_shuffle(self.last.weight)
        features = self.activation(self.widen(x))
        out: Tensor = self.shuffle(
            F.conv2d(features, weight, cast(Tensor, self.last.bias).repeat_interleave(4), padding=weight.shape[-1] // 2)
        )
        return out


def _before_shuffle(weight: Tensor) -> Tensor:
    """(out, in, k, k) for the shuffled image -> (4 * out, 4 * in, m, m) for the one before, with odd m >= (k + 1) / 2.

    The pixel (2y + i, 2x + j) takes tap u from (2y + i + u - k // 2), which is row (i + u - k // 2) // 2 of the image
    before the shuffle, in the channel of that remainder.
    """
    out, inside, kernel, _ = weight.shape
    reach = (kernel // 2 + 1) // 2  # rows before the shuffle on each side
    start = 2 * reach - kernel // 2
    end = 2 * (2 * reach + 1) - kernel - start
    phases = [F.pad(weight, (start + j, end - j, start + i, end - i)) for i in (0, 1) for j in (0, 1)]
    side = 2 * reach + 1
    split = torch.stack(phases, dim=1).view(out, 4, inside, side, 2, side, 2)
    return split.permute(0, 1, 2, 4, 6, 3, 5).reshape(4 * out, 4 * inside, side, side)
