"""Weights that are a blend of several: after training, what a limit of the physics suite asks for.

`--blend x4:onto=W,share=0.3` of `training.export`: a share of what the run changed since its start, on other weights
(network interpolation, Wang et al. 2018, ESRGAN, section 3.4); `mix=W,mixed=0.3`: weights and their share of the result
(model soups, Wortsman et al. 2022); `last_layer=0.9`: the detail weaker by a factor.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import nn

from model import checkpoint
from model.family import SuperResolver
from training.config import ConfigError


@dataclass(frozen=True)
class Blend:
    """How the weights of one scale are blended; by default not at all."""

    onto: str = ""
    share: float = 1.0
    mix: str = ""
    mixed: float = 0.0
    last_layer: float = 1.0

    @torch.no_grad()
    def apply(self, generator: SuperResolver, began: str) -> dict[str, Any]:
        """Change a generator, trained from the weights `began`; returns what its card says. Raises CheckpointError."""
        scale, recipe = generator.config.scale, asdict(self)
        if self.onto:
            start, _ = checkpoint.load(checkpoint.find(began))
            other, card = checkpoint.load(checkpoint.find(self.onto))
            for part, first, target in zip(*map(_weights, (generator, start[scale], other[scale])), strict=True):
                part.copy_(target + self.share * (part - first))
            recipe["onto"] = card.identity
        if self.mix:
            other, card = checkpoint.load(checkpoint.find(self.mix))
            for part, target in zip(*map(_weights, (generator, other[scale])), strict=True):
                part.lerp_(target, self.mixed)
            recipe["mix"] = card.identity
        convolutions = [layer for layer in generator.modules() if isinstance(layer, nn.Conv2d)]
        for part in convolutions[-1].parameters():
            part.mul_(self.last_layer)
        return {key: value for key, value in recipe.items() if value != getattr(Blend, key)}


def read(text: str) -> tuple[int, Blend]:
    """(scale, blend) of `x4:key=value,key=value`. Raises ConfigError."""
    kinds = {field.name: type(getattr(Blend, field.name)) for field in fields(Blend)}
    try:
        scale, _, rest = text.partition(":")
        pairs = [pair.split("=", 1) for pair in rest.split(",")]
        return int(scale.removeprefix("x")), Blend(**{key: kinds[key](value) for key, value in pairs})
    except (KeyError, TypeError, ValueError):
        raise ConfigError(f"--blend {text!r}: expected x4:KEY=VALUE,... with the keys {', '.join(kinds)}") from None


def _weights(generator: SuperResolver) -> list[nn.Parameter]:
    return list(generator.parameters())
