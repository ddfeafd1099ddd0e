"""The critic: the seed's layers, conditional, and of any size."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from model.critic import Critic, CriticConfig


def layers(critic: Critic) -> list[nn.Module]:
    return [layer for layer in critic.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]


def test_it_is_what_the_design_says() -> None:
    critic = Critic(CriticConfig(), channels=1)
    convolutions = [layer for layer in critic.modules() if isinstance(layer, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [64, 64, 128, 128, 256, 256, 512, 512]
    assert [c.stride[0] for c in convolutions] == [1, 2] * 4
    assert all(parametrize.is_parametrized(layer, "weight") for layer in layers(critic))
    assert {layer.negative_slope for layer in critic.modules() if isinstance(layer, nn.LeakyReLU)} == {0.2}
    assert not any("Norm2d" in type(layer).__name__ or isinstance(layer, nn.BatchNorm2d) for layer in critic.modules())
    assert isinstance(list(critic.dense)[-1], nn.Linear)  # nothing bounds the score


def test_each_layer_has_spectral_norm_one() -> None:
    critic = Critic(CriticConfig(width=8, dense=16), channels=1).train()
    for _ in range(50):  # the power iteration converges
        critic(torch.rand(1, 1, 32, 32), torch.rand(1, 1, 8, 8))
    for layer in layers(critic):
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.05)  # type: ignore[operator]


@pytest.mark.parametrize("size", [16, 64, 96, 256])
@pytest.mark.parametrize("conditional", [True, False])
def test_it_takes_crops_of_any_size(size: int, conditional: bool) -> None:
    critic = Critic(CriticConfig(conditional=conditional, width=4, dense=8), channels=1)
    assert critic(torch.rand(2, 1, size, size), torch.rand(2, 1, size // 4, size // 4)).shape == (2,)


@pytest.mark.parametrize("conditional", [True, False])
def test_only_the_conditional_critic_sees_the_source(conditional: bool) -> None:
    critic = Critic(CriticConfig(conditional=conditional, width=4, dense=8), channels=1).eval()
    image = torch.rand(1, 1, 32, 32)
    scores = [critic(image, low).item() for low in (torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8))]
    assert (scores[0] != scores[1]) == conditional
