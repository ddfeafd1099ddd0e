"""The nouns: what the database holds and the roles hand to each other.

Times are seconds since 1970 by the database's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple


class JobState(StrEnum):
    """Of a job or a delivery."""

    READY = "ready"  # waits for a worker, or for its next try
    RUNNING = "running"  # a worker holds the lease
    SENT = "sent"  # of a delivery: the peer stored it, and its storage commitment is awaited
    DONE = "done"
    SKIPPED = "skipped"  # not one to upscale, or cancelled; the reason says which
    DEAD = "dead"  # given up; the reason says why; `srnode jobs retry` starts again


class SkipReason(StrEnum):
    """Why a job was skipped: the closed list. A skipped image is stored and acknowledged; it is only not upscaled."""

    NOT_A_RADIOGRAPH = "not a radiograph"
    MAMMOGRAPHY = "mammography"
    NOT_NAMED = "not named by a rule"
    OURS = "already upscaled"
    BY_AI = "already made by AI"
    FOR_PROCESSING = "for processing"
    ENCRYPTED = "encrypted"
    NO_PIXELS = "no pixel data"
    MULTI_FRAME = "multi-frame"
    COLOUR = "colour"
    DEPTH = "bit depth"
    QUALITY_CONTROL = "quality control image"
    TOO_SMALL = "too small"
    TOO_LARGE = "too large"
    NO_RULE = "no rule"
    QUALITY = "quality"
    CANCELLED = "cancelled"


class Priority(IntEnum):
    """What goes first. Within one priority the oldest does."""

    STAT = 0
    ROUTINE = 1
    BACKFILL = 2  # only within the off-peak window, if there is one


class OutputKind(StrEnum):
    """What an output is."""

    IMAGE = "image"  # the derived image; the others accompany it
    HEAT_MAP = "heat map"
    REPORT = "report"
    REJECTION = "rejection note"  # asks an archive to hide the others
    SHADOW = "shadow"  # an image of weights that are only compared; it is sent nowhere


RESULTS = (OutputKind.IMAGE, OutputKind.HEAT_MAP, OutputKind.REPORT)  # what is sent of an image


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a data set says it is; every UID has passed PS3.5 9.1."""

    sop_class_uid: str
    sop_instance_uid: str
    study_uid: str
    series_uid: str
    modality: str
    # Who it is of: for the audit trail and the dashboard's search; never in a log, a file name or an error.
    patient_id: str
    patient_name: str = ""
    accession: str = ""
    study_date: str = ""  # YYYYMMDD, or nothing
    body_part: str = ""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Who called whom when an image came; nothing of a file that came otherwise."""

    calling_ae: str = ""
    called_ae: str = ""


@dataclass(frozen=True, kw_only=True)
class Route:
    """What the rules in force say to an image of one origin: who gets its results, and when it is worked on."""

    destinations: tuple[str, ...] = ()  # none where no rule takes it
    priority: Priority = Priority.ROUTINE
    delay_s: float = 0.0  # how long its job waits at least


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A file in the spool that will never change."""

    name: str  # 32 hexadecimal digits, ours; never anything from the wire
    sha256: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One image as received."""

    id: int
    sop_class_uid: str
    sop_instance_uid: str
    study_uid: str
    series_uid: str
    modality: str
    patient_id: str
    patient_name: str
    accession: str
    study_date: str
    body_part: str
    transfer_syntax_uid: str
    calling_ae: str
    called_ae: str
    file: str
    sha256: str  # of the data set as received, without file meta information
    bytes: int
    received_at: float
    held: bool  # by hand: never purged
    purged_at: float  # when its files were removed, long after all was delivered; 0 while they are here

    @property
    def origin(self) -> Origin:
        """Who called whom."""
        return Origin(calling_ae=self.calling_ae, called_ae=self.called_ae)


@dataclass(frozen=True, kw_only=True)
class Job:
    """The upscaling of one instance. `attempt` is the fencing token: it grows with each claim."""

    id: int
    instance_id: int
    state: JobState
    attempt: int
    failures: int  # since the job was made or last retried by hand
    lost: int  # tries since then that ended because the worker did, which may be no fault of the image
    priority: Priority
    run_at: float
    lease_until: float
    worker: str
    reason: str
    updated_at: float
    skipped: str  # a Reason, or empty
    quality: str  # JSON: the numbers of the quality gate, or empty


@dataclass(frozen=True, kw_only=True)
class Output:
    """One derived object; produced once, then only sent."""

    id: int
    job_id: int
    kind: OutputKind
    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str
    file: str
    sha256: str
    bytes: int
    model: str
    scale: int
    created_at: float
    purged_at: float  # when its file was removed; 0 while it is here
    source_pixels: str  # the hash of its source's pixels; empty of results of an earlier version, as is the next
    whose: str  # the hash of the patient, study and order that it names
    superseded_by: int  # an output of the same source of another patient, study or order; 0: none, -1: that was seen to


@dataclass(frozen=True)
class StoredOutput:
    """One object that was made: the columns of `output`, its file, where it goes.

    compared: of a shadow, the numbers that hold it against what is sent.
    """

    columns: Mapping[str, Any]
    stored: Stored
    destinations: tuple[str, ...] = ()
    compared: Mapping[str, object] | None = None


@dataclass(frozen=True)
class JobResult:
    """What was made of an image."""

    outputs: tuple[StoredOutput, ...]
    quality: Mapping[str, object]
    left_out: tuple[str, ...] = ()  # why some of what the rule asks for was not made
    rule: str = ""  # that took it


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One output on its way to one destination."""

    id: int
    output_id: int
    destination: str  # a peer's name, or FOLDER
    state: JobState
    attempt: int
    failures: int
    lost: int
    priority: Priority
    run_at: float
    lease_until: float
    worker: str
    reason: str
    updated_at: float
    since: float  # when it was queued of an output that was there, or last retried by hand; else 0
    doubts: int  # answers since then that may pass, but not for ever
    commitment_id: int | None  # of the last request that asked the peer to commit to it
    commit_at: float  # when it is to be asked for next, while it is SENT
    commit_tries: int  # since it was last sent


@dataclass(frozen=True, kw_only=True)
class Reference:
    """An instance as storage commitment names it (PS3.4 J.3)."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with the node. No part of it names a patient."""

    kind: str
    subject: str
    text: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class CommitmentRequest:
    """A peer asks us to commit to what it sent, held by an attempt to report on it."""

    id: int
    transaction_uid: str
    calling_ae: str
    address: str  # from which it asked
    references: tuple[Reference, ...]
    attempt: int
    failures: int
    since: float


class Caller(NamedTuple):
    """Who called, from where, and why it was turned away."""

    calling_ae: str
    address: str
    why: str


FOLDER = "folder"  # the destination when none is configured: data_dir/out
