"""Start a large generator as a small one that is trained already (Net2Net: Chen, Goodfellow, Shlens 2016).

The large one first computes the same function: the channels and blocks that it has more are drawn at random, and every
path from them to the result starts at zero. What it learns from there on is what the size is worth.
"""

from __future__ import annotations

from itertools import product
from typing import cast

import torch
from torch import Tensor, nn

from model.blocks import LastStage, ResidualBlock, UpsamplingBlock
from model.generator import Generator, GeneratorConfig
from training.config import ConfigError


@torch.no_grad()
def grow(small: Generator, config: GeneratorConfig) -> Generator:
    """A generator of this configuration that computes what `small` computes. Raises ConfigError."""
    _check(small.config, config)
    large = Generator(config)
    _embed(large.head[0], small.head[0])
    _slope(large.head[1], small.head[1])
    for block, known in zip(_blocks(large), _blocks(small), strict=False):
        _embed(block.body[0], known.body[0])
        _slope(block.body[1], known.body[1])
        _embed(block.body[2], known.body[2])
    for block in _blocks(large)[len(_blocks(small)) :]:
        _close(block.body[2])
    _embed(large.trunk[-1], small.trunk[-1])
    _pass_through(large, small.tail[0])
    return large


def _check(small: GeneratorConfig, large: GeneratorConfig) -> None:
    values = {
        "channels": small.channels == large.channels,
        "scale": small.scale == large.scale == 4,
        "width": small.width < large.width and large.width >= 4 * small.scale,
        "blocks": small.blocks <= large.blocks,
        "edge_kernel": small.edge_kernel <= large.edge_kernel,
        "batch_norm": not small.batch_norm and not large.batch_norm,
        "attention": not small.attention,
        "tail": (small.tail, large.tail) == ("shuffle", "stages"),
        "output": small.output == large.output != "image",
    }
    wrong = [key for key, right in values.items() if not right]
    if wrong:
        pairs = ", ".join(f"{key} = {getattr(small, key)!r} to {getattr(large, key)!r}" for key in wrong)
        raise ConfigError(
            f"start.weights cannot grow into this generator ({pairs}); a x4 generator without batch norm and attention "
            'and with tail "shuffle" grows into a wider one with tail "stages"; or train from the beginning'
        )


def _blocks(generator: Generator) -> list[ResidualBlock]:
    return [layer for layer in generator.trunk if isinstance(layer, ResidualBlock)]


def _kernel(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """(weight, bias) of a convolution."""
    convolution = cast(nn.Conv2d, layer)
    return convolution.weight, cast(Tensor, convolution.bias)


def _slope(large: nn.Module, small: nn.Module) -> None:
    cast(nn.PReLU, large).weight.copy_(cast(nn.PReLU, small).weight)


def _embed(large: nn.Module, small: nn.Module) -> None:
    """The known channels compute what they did; they do not see the new ones."""
    (weight, bias), (known, known_bias) = _kernel(large), _kernel(small)
    out, inside, size, _ = known.shape
    edge = (weight.shape[-1] - size) // 2
    weight[:out] = 0
    weight[:out, :inside, edge : edge + size, edge : edge + size] = known
    bias[:out] = known_bias


def _close(layer: nn.Module) -> None:
    for part in _kernel(layer):
        part.zero_()


def _pass_through(large: Generator, known: nn.Module) -> None:
    """Carry the sixteen values of a x4 pixel shuffle through two x2 stages, each value as a pair (+v, -v).

    PReLU with slope a leaves (1 + a) v in the difference of the pair, whatever the sign of v. Before its shuffle, a
    stage holds four places for each channel; the first stage's channels are the fine places of the second.
    """
    first, second = cast(UpsamplingBlock, large.tail[0]), cast(LastStage, large.tail[1])
    (weight, bias), (source_weight, source_bias) = _kernel(first[0]), _kernel(known)
    out, inside = source_weight.shape[0] // 16, source_weight.shape[1]
    for value, row, column in product(range(out), range(4), range(4)):
        quarter, fine = 2 * (row // 2) + column // 2, 2 * (row % 2) + column % 2
        source = 16 * value + 4 * row + column
        for channel, sign in _pair(4 * value + fine):
            weight[4 * channel + quarter] = 0
            weight[4 * channel + quarter, :inside] = sign * source_weight[source]
            bias[4 * channel + quarter] = sign * source_bias[source]
    for value, fine in product(range(out), range(4)):
        for channel, sign in _pair(value):
            _sum(second.widen, 4 * channel + fine, 4 * value + fine, sign, first[2])
    for value in range(out):
        _sum(second.last, value, value, 1, second.activation)


def _pair(number: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """(channel, sign) of both halves of a pair."""
    return (2 * number, 1), (2 * number + 1, -1)


def _sum(layer: nn.Module, out: int, pair: int, sign: int, before: nn.Module) -> None:
    """One output of a convolution as the value of a pair, which has gone through a PReLU."""
    weight, bias = _kernel(layer)
    middle = weight.shape[-1] // 2
    weight[out] = 0
    bias[out] = 0
    for channel, half in _pair(pair):
        weight[out, channel, middle, middle] = sign * half / (1 + cast(nn.PReLU, before).weight.item())
