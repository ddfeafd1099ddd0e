"""The families of generators by name: what a card, a training configuration, or a checkpoint is built from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from model.family import ArchitectureConfig, SuperResolver
from model.generator import Generator, GeneratorConfig


@dataclass(frozen=True)
class Architecture:
    """One family. config: a frozen dataclass, every value of which makes another member."""

    config: type[ArchitectureConfig]
    build: Callable[[Any], SuperResolver]


DEFAULT = "srresnet"  # of cards and configurations that name none
ARCHITECTURES: dict[str, Architecture] = {
    DEFAULT: Architecture(GeneratorConfig, Generator),
}


def architecture(family: str) -> Architecture:
    """The row of a family. Raises ValueError for an unknown name."""
    if family not in ARCHITECTURES:
        raise ValueError(f"no family of generators {family!r}; known families: {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[family]


def family_of(config: ArchitectureConfig) -> str:
    """The family that a configuration belongs to. Raises ValueError."""
    for family, row in ARCHITECTURES.items():
        if type(config) is row.config:
            return family
    raise ValueError(f"{type(config).__name__} belongs to no family of `model.architectures`")


def build(config: ArchitectureConfig) -> SuperResolver:
    """A generator with new weights."""
    return architecture(family_of(config)).build(config)
