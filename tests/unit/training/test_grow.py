"""A large generator starts as the small one that it grew out of."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.training import read

from model.generator import Generator, GeneratorConfig
from model.interpolation import consistent
from training.config import ConfigError
from training.growing import grow
from training.trainer import begin

SMALL = GeneratorConfig(width=8, blocks=2, edge_kernel=3, batch_norm=False, attention=False, tail="shuffle")
LARGE = GeneratorConfig(width=24, blocks=4, edge_kernel=9, batch_norm=False, attention=True, tail="stages")


def trained(channels: int = 1) -> Generator:
    """As if it were trained: no parameter is at its first value."""
    torch.manual_seed(1)
    generator = Generator(GeneratorConfig(**{**SMALL.as_dict(), "channels": channels}))
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return generator.eval()


@pytest.mark.parametrize("channels", [1, 3])
def test_it_computes_the_same(channels: int) -> None:
    small = trained(channels)
    large = grow(small, GeneratorConfig(**{**LARGE.as_dict(), "channels": channels})).eval()
    low = torch.rand(2, channels, 20, 15) * 2 - 1
    with torch.no_grad():
        assert torch.allclose(large(low), small(low), atol=1e-5)
        assert (small(low) - consistent(low, 4)).abs().max() > 0.1


def test_what_is_new_can_learn() -> None:
    """The new paths end in zeros but do not begin there: their last weights get a gradient at once."""
    large = grow(trained(), LARGE)
    large(torch.rand(1, 1, 16, 16)).square().sum().backward()
    gradient = dict(large.named_parameters())["tail.1.last.weight"].grad
    assert gradient is not None
    assert (gradient.abs().sum(dim=(0, 2, 3)) > 0).all()


def test_the_same_architecture_is_taken_as_it_is() -> None:
    small = trained()
    assert grow(small, SMALL) is small


def test_what_cannot_grow_is_named() -> None:
    with pytest.raises(ConfigError, match="blocks = 2 to 1, edge_kernel = 3 to 1"):
        grow(trained(), GeneratorConfig(**{**LARGE.as_dict(), "blocks": 1, "edge_kernel": 1}))
    with pytest.raises(ConfigError, match="batch_norm = False to True"):
        grow(trained(), GeneratorConfig())


def test_a_run_starts_from_weights_by_name(config_file: Path) -> None:
    lite = (
        "start.weights=xr-lite",
        "generator.width=32",
        "generator.blocks=6",
        "generator.edge_kernel=5",
        "generator.batch_norm=false",
    )
    generator = begin(read(config_file, *lite))
    assert sum(parameter.numel() for parameter in generator.parameters()) > 100_000
    with pytest.raises(ConfigError, match=r"start.weights: no weights 'nonsense'.*known names: .*xr-lite"):
        begin(read(config_file, "start.weights=nonsense"))
