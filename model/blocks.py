"""The building blocks of the generator."""

from __future__ import annotations

from torch import Tensor, nn


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
