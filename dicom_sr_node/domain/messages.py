"""What the supervisor of a worker and the inference process say to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dicom_sr_node.domain.records import JobResult, JobState, Origin, SkipReason


@dataclass(frozen=True)
class InferenceRequest:
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
class Succeeded:
    """The child has kept what it made of an image. dropped: elements of the source that its result does not have."""

    result: JobResult
    dropped: tuple[str, ...]


@dataclass(frozen=True)
class Rejected:
    """The child could not make one, and trying again would not help."""

    state: JobState
    reason: str
    skipped: SkipReason | None = None
    quality: Mapping[str, object] | None = None


@dataclass(frozen=True)
class Failed:
    """The child could not make one this time: it failed, crashed, or was lost for a cause that is not the image."""

    reason: str
    crashed: bool = False
    lost: bool = False
