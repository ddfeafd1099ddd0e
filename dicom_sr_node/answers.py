"""What the computing process tells the supervisor of a worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dicom_sr_node.records import Reason, State, Stored


@dataclass(frozen=True)
class Ready:
    """The child has loaded its model."""

    model: str
    device: str


@dataclass(frozen=True)
class Made:
    """The child has kept what it made of an image: each object as the columns of `output` and its file."""

    objects: tuple[tuple[dict[str, Any], Stored], ...]
    destinations: tuple[str, ...]
    quality: Mapping[str, object]
    dropped: tuple[str, ...]  # elements of the source that are not in the derived image, by name


@dataclass(frozen=True)
class Ended:
    """The child could not make one, and trying again would not help."""

    state: State
    reason: str
    skipped: Reason | None = None
    quality: Mapping[str, object] | None = None


@dataclass(frozen=True)
class Failed:
    """The child could not make one this time: it failed, crashed, or was lost for a cause that is not the image."""

    reason: str
    crashed: bool = False
    lost: bool = False
