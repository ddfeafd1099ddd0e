"""The schedule and the moving average."""

from __future__ import annotations

import pytest
import torch

from model.generator import Generator, GeneratorConfig
from training import steps
from training.config import Content


def test_the_schedule_rises_and_falls_to_zero() -> None:
    content = Content(steps=100, warmup_steps=10)
    rates = [steps.learning_rate(content, step) for step in range(101)]
    assert rates[0] == pytest.approx(content.learning_rate / 10)
    assert max(rates) == pytest.approx(content.learning_rate)
    assert rates[-1] == pytest.approx(0)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_the_average_follows_the_weights() -> None:
    config = GeneratorConfig(width=8, blocks=1, edge_kernel=3, batch_norm=True, attention=False, tail="shuffle")
    average, current = Generator(config), Generator(config)
    for _ in range(200):
        steps.follow(average, current, 0.9, 1000)
    assert torch.allclose(next(average.parameters()), next(current.parameters()), atol=1e-5)
