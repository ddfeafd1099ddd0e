"""The critic: how real an image looks, as an unbounded score (Arjovsky et al. 2017).

It never meets batch norm, which would tie the samples of a batch together: the gradient penalty is a promise about each
sample alone (Gulrajani et al. 2017, section 4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from model.interpolation import consistent

SLOPE = 0.2  # of the leaky rectifiers
CONTEXT = 1 / 16  # of the source beside the detail: about as large as the detail itself


@dataclass(frozen=True, kw_only=True)
class CriticConfig:
    """What a critic is made of; the defaults are the seed's, made conditional."""

    conditional: bool = True  # sees the upsampled low image beside the candidate; the seed's critic does not
    width: int = 64  # features of the first two convolutions; 2, 4 and 8 times as many in the following pairs
    dense: int = 1024  # features of the first dense layer

    def __post_init__(self) -> None:
        if min(self.width, self.dense) < 1:
            raise ValueError("width and dense must be at least 1")


class Critic(nn.Module):
    """(N, C, H, W) on [-1, 1] -> (N,) scores; any H and W of at least 16 pixels.

    Eight 3x3 convolutions, each second one with stride 2 (Ledig et al. 2017, figure 4, without batch norm), each layer
    spectrally normalised (Miyato et al. 2018).
    """

    def __init__(self, config: CriticConfig, channels: int) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * factor for factor in (1, 1, 2, 2, 4, 4, 8, 8)]
        inputs = [channels * (2 if config.conditional else 1), *widths[:-1]]
        layers: list[nn.Module] = []
        for index, (inside, out) in enumerate(zip(inputs, widths, strict=True)):
            convolution = nn.Conv2d(inside, out, 3, stride=1 + index % 2, padding=1)
            nn.init.zeros_(cast(Tensor, convolution.bias))  # the rectifiers bend where faint detail is, not far from it
            layers += [spectral_norm(convolution), nn.LeakyReLU(SLOPE)]
        self.features = nn.Sequential(*layers)
        self.dense = nn.Sequential(
            spectral_norm(nn.Linear(widths[-1], config.dense)),
            nn.LeakyReLU(SLOPE),
            spectral_norm(nn.Linear(config.dense, 1)),
        )

    def forward(self, candidate: Tensor, low: Tensor) -> Tensor:
        """(N, C, sH, sW) candidates and the (N, C, H, W) images that they claim to show in detail -> (N,) scores."""
        features = self.features(self._seen(candidate, low))
        # The mean over positions would flatten the critic's slope as crops grow; times their root, it keeps it.
        pooled = features.mean(dim=(2, 3)) * math.sqrt(features.shape[2] * features.shape[3])
        score: Tensor = self.dense(pooled).squeeze(1)
        return score

    def _seen(self, candidate: Tensor, low: Tensor) -> Tensor:
        """The detail beside the source that it must fit, or the candidate alone.

        Beside whole anatomy, detail is too faint to bend a rectifier: measured, such a critic told nothing after 150
        updates, where this one has a Wasserstein estimate of 1.
        """
        if not self.config.conditional:
            return candidate
        source = consistent(low, candidate.shape[-1] // low.shape[-1])
        return torch.cat([candidate - source, CONTEXT * source], dim=1)
