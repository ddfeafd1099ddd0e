"""What the computing process tells the supervisor of a worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dicom_sr_node.records import State, Stored


@dataclass(frozen=True)
class Ready:
    """The child has loaded its model."""

    model: str
    device: str


@dataclass(frozen=True)
class Made:
    """The child has kept a derived object."""

    stored: Stored
    described: dict[str, Any]
    destinations: tuple[str, ...]


@dataclass(frozen=True)
class Ended:
    """The child could not make one, and trying again would not help."""

    state: State
    reason: str


@dataclass(frozen=True)
class Failed:
    """The child could not make one this time."""

    reason: str
