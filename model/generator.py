"""The generator: low-resolution image in, high-resolution image out, both on [-1, 1].

An SRResNet (Ledig et al. 2017) with self-attention (Zhang et al. 2019) after the long skip, as in the seed; what it
answers is added to the best classical interpolation. Smaller members of the family are other values of the same fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.attention import SelfAttention
from model.blocks import LastStage, ResidualBlock, UpsamplingBlock
from model.family import ArchitectureConfig, SuperResolver
from model.interpolation import bicubic, consistent


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig(ArchitectureConfig):
    """What a generator is made of; stored in the card of its weights."""

    width: int = 64  # feature channels
    blocks: int = 16  # residual blocks
    edge_kernel: int = 9  # the first convolution, and the last one of the "stages" tail
    batch_norm: bool = True
    attention: bool = True
    attention_pool: int = 1  # low pixels, along each side, that one key and value of the attention stand for
    tail: Literal["stages", "shuffle"] = "stages"  # x2 blocks one after the other, or one pixel shuffle by `scale`
    # What the answer is: detail on the consistent interpolation, without a mean in any block, so that an answer of zero
    # is the best classical method; the image itself from tanh, as in the seed; or (older weights) detail on bicubic.
    output: Literal["consistent", "image", "bicubic"] = "consistent"

    def __post_init__(self) -> None:
        if self.scale & (self.scale - 1) or self.scale < 2:
            raise ValueError(f"scale must be a power of two of at least 2, not {self.scale}")
        if self.edge_kernel % 2 == 0:
            raise ValueError(f"edge_kernel must be odd, not {self.edge_kernel}")
        if min(self.channels, self.width, self.blocks, self.edge_kernel, self.attention_pool) < 1:
            raise ValueError("channels, width, blocks, edge_kernel and attention_pool must be at least 1")


class Generator(SuperResolver):
    """(N, C, H, W) -> (N, C, scale * H, scale * W)."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config: GeneratorConfig = config
        edge, width = config.edge_kernel, config.width
        self.head = nn.Sequential(nn.Conv2d(config.channels, width, edge, padding=edge // 2), nn.PReLU())
        self.trunk = nn.Sequential(
            *(ResidualBlock(width, batch_norm=config.batch_norm) for _ in range(config.blocks)),
            nn.Conv2d(width, width, 3, padding=1),
        )
        self.attention = SelfAttention(width, config.attention_pool) if config.attention else nn.Identity()
        self.tail = _tail(config)
        if config.output != "image":
            last = [layer for layer in self.tail.modules() if isinstance(layer, nn.Conv2d)][-1]
            nn.init.zeros_(last.weight)  # training starts at the interpolation
            nn.init.zeros_(last.bias) if last.bias is not None else None

    def forward(self, low: Tensor) -> Tensor:
        """(N, C, H, W) on [-1, 1] -> (N, C, scale * H, scale * W)."""
        first = self.head(low)
        answer: Tensor = self.tail(self.attention(first + self.trunk(first)))
        match self.config.output:
            case "consistent":
                return consistent(low, self.config.scale) + without_block_means(answer.float(), self.config.scale)
            case "image":
                return torch.tanh(answer)
            case "bicubic":
                return bicubic(low, self.config.scale) + torch.tanh(answer).to(low.dtype)

    def upsampling_weights(self) -> list[Tensor]:
        """The kernels of the upsampling blocks, which the seed regularises."""
        convolutions = [layer for layer in self.tail.modules() if isinstance(layer, nn.Conv2d)]
        return [layer.weight for layer in (convolutions[:-1] or convolutions)]


def _tail(config: GeneratorConfig) -> nn.Sequential:
    if config.tail == "shuffle":
        out = config.channels * config.scale**2
        return nn.Sequential(nn.Conv2d(config.width, out, 3, padding=1), nn.PixelShuffle(config.scale))
    stages = [UpsamplingBlock(config.width) for _ in range(config.scale.bit_length() - 2)]
    return nn.Sequential(*stages, LastStage(config.width, config.channels, config.edge_kernel))


def without_block_means(detail: Tensor, scale: int) -> Tensor:
    """What a network may add to an image whose block means are right: (N, C, sH, sW) -> same shape."""
    return detail - F.interpolate(F.avg_pool2d(detail, scale), scale_factor=scale, mode="nearest")
