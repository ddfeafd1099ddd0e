"""The backends by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from model import torch_backend
from model.backend import Backend
from model.checkpoint import Card


@dataclass(frozen=True)
class BackendKind:
    """One backend.

    load: (weights file, device, precision) -> ready generators and their card; raises CheckpointError, ValueError.
    default_name: device -> the weights that `auto` means there.
    """

    load: Callable[[Path, str, str], tuple[Backend, Card]]
    default_name: Callable[[str], str]


DEFAULT = "torch"
BACKENDS: dict[str, BackendKind] = {
    DEFAULT: BackendKind(torch_backend.load, torch_backend.default_name),
}


def backend(name: str) -> BackendKind:
    """The row of a backend. Raises ValueError for an unknown name."""
    if name not in BACKENDS:
        raise ValueError(f"no backend {name!r}; known backends: {', '.join(BACKENDS)}")
    return BACKENDS[name]
