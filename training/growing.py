"""Starting a generator as a smaller one of its family that is trained already: how, for each family that can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from model import architectures
from model.family import ArchitectureConfig, SuperResolver
from training import net2net
from training.config import ConfigError

GROWERS: dict[str, Callable[[Any, Any], SuperResolver]] = {  # by family: (small generator, large configuration)
    "srresnet": net2net.grow,
}


def grow(small: SuperResolver, config: ArchitectureConfig) -> SuperResolver:
    """A generator of this configuration that computes what `small` computes. Raises ConfigError."""
    if small.config == config:
        return small
    known, family = architectures.family_of(small.config), architectures.family_of(config)
    if known != family or family not in GROWERS:
        raise ConfigError(
            f"start.weights are of the family {known!r} and of another shape; this generator is of {family!r}: "
            f"only a smaller one of the same family can be grown, of {', '.join(GROWERS)}"
        )
    return GROWERS[family](small, config)
