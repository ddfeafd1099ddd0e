"""What every family of generators has in common: the rest of the code knows no more of any of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class ArchitectureConfig:
    """What a generator is made of; stored in the card of its weights."""

    channels: int = 1  # 1 for radiographs, 3 as in the seed
    scale: int = 4

    def as_dict(self) -> dict[str, Any]:
        """The plain values, for a card."""
        return asdict(self)


class SuperResolver(nn.Module):
    """A generator: (N, C, H, W) on [-1, 1] -> (N, C, scale * H, scale * W) on [-1, 1]."""

    config: ArchitectureConfig

    def upsampling_weights(self) -> list[Tensor]:
        """The kernels that a recipe may regularise by themselves (`adversarial.upsampling_decay`); none by default."""
        return []
