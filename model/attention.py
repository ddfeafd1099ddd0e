"""Self-attention over all positions of a feature map (Zhang et al. 2019, SAGAN, equations 1 to 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

REDUCTION = 8  # C / 8 channels inside, as in the paper


class SelfAttention(nn.Module):
    """`x + gain * attention(x)`, where the learned gain starts at zero.

    Query, key and value have the same head size. The paper's own form allows it (W_h maps to C/8, W_v back to C), and
    the fused kernel needs it: with unequal sizes PyTorch falls back to a path that holds the whole (HW, HW) matrix.
    Each key and value may stand for a square of `pool` x `pool` positions, by their mean.
    """

    def __init__(self, width: int, pool: int = 1) -> None:
        super().__init__()
        self.pool = pool
        self.inner = max(width // REDUCTION, 8)
        self.query_key_value = nn.Conv2d(width, 3 * self.inner, 1)
        self.out = nn.Conv2d(self.inner, width, 1)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        height, width = x.shape[-2:]
        query, *rest = self.query_key_value(x).chunk(3, dim=1)
        if self.pool > 1:
            rest = [F.avg_pool2d(part, self.pool, ceil_mode=True, count_include_pad=False) for part in rest]
        query, key, value = (_positions(part) for part in (query, *rest))
        mixed = F.scaled_dot_product_attention(query, key, value)  # (N, 1, HW, d)
        mixed = mixed.squeeze(1).transpose(1, 2).reshape(len(x), self.inner, height, width)  # (N, d, H, W)
        out: Tensor = x + self.gain * self.out(mixed)
        return out


def _positions(features: Tensor) -> Tensor:
    """(N, d, H, W) -> (N, 1, HW, d)."""
    return features.flatten(2).transpose(1, 2).unsqueeze(1).contiguous()
