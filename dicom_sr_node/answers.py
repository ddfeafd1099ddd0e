"""What the supervisor of a worker and the computing process say to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicom_sr_node.records import Origin, Reason, State, Stored


@dataclass(frozen=True)
class Task:
    """An image to be worked on. model, shadow: names of weights, nothing for those of the configuration or none."""

    path: Path
    origin: Origin
    model: str = ""
    shadow: str = ""


@dataclass(frozen=True)
class Ready:
    """The child has loaded its model."""

    model: str
    device: str


@dataclass(frozen=True)
class Kept:
    """One object that was made: the columns of `output`, its file, where it goes.

    compared: of a shadow, the numbers that hold it against what is sent.
    """

    columns: Mapping[str, Any]
    stored: Stored
    destinations: tuple[str, ...] = ()
    compared: Mapping[str, object] | None = None


@dataclass(frozen=True)
class Made:
    """The child has kept what it made of an image."""

    objects: tuple[Kept, ...]
    quality: Mapping[str, object]
    dropped: tuple[str, ...]  # elements of the source that are not in the derived image, by name
    left_out: tuple[str, ...] = ()  # why some of what the rule asks for was not made
    rule: str = ""  # that took it


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
