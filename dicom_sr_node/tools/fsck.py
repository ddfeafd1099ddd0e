"""Is everything there that was promised? Database and spool against each other: see docs/reliability.md."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from dicom_sr_node.dicom.header import data_set_sha256
from dicom_sr_node.retention import ORPHAN_AGE_S, PURGE_LOCK, PURGE_PATIENCE_S
from dicom_sr_node.runtime import locks
from dicom_sr_node.spool import PLACES, Place, Spool
from dicom_sr_node.store.invariants import File, Invariants

Progress = Callable[[float], None]


@dataclass
class Findings:
    """violations: a promise is broken. notes: leftovers that the node itself removes in time."""

    violations: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    images: int = 0
    results: int = 0


def check(
    spool: Spool, invariants: Invariants, *, quick: bool = False, progress: Progress = lambda fraction: None
) -> Findings:
    """Read every file and compare its hash; `quick` only compares lengths.

    Nothing is purged meanwhile: a file that goes while it is looked for would be told as lost. Raises AlreadyRunning
    while a backup holds the files for long.
    """
    lock = locks.take(spool.root, PURGE_LOCK, PURGE_PATIENCE_S)
    try:
        return _check(spool, invariants, quick, progress)
    finally:
        lock.free()


def _check(spool: Spool, invariants: Invariants, quick: bool, progress: Progress) -> Findings:
    findings = Findings(violations=invariants.broken())
    lying = {place: spool.names(place) for place in PLACES}  # before the rows: what gets its row meanwhile is no orphan
    rows = dict(zip(PLACES, (invariants.received(), invariants.derived()), strict=True))
    findings.images, findings.results = len(rows["in"]), len(rows["outbox"])
    total, done = max(1, findings.images + findings.results), 0
    for place, files in rows.items():
        for file in files:
            if wrong := _wrong(spool, place, file, quick):
                findings.violations.append(f"I1 {file.whose}: {wrong}")
            done += 1
            progress(done / total)
        _orphans(spool, place, lying[place] - {file.name for file in files}, findings)
    for path in (spool.root / "tmp").rglob("*"):
        if path.is_file():
            _leftover(path, f"tmp/{path.relative_to(spool.root / 'tmp')} is half written", findings)
    return findings


def _wrong(spool: Spool, place: Place, file: File, quick: bool) -> str:
    """What is wrong with a file, or nothing."""
    path = spool.path(place, file.name)
    try:
        if path.stat().st_size != file.bytes:
            return f"its file {place}/{file.name} has {path.stat().st_size} bytes, not {file.bytes}"
        if not quick and _sha256(path, place) != file.sha256:
            return f"its file {place}/{file.name} is not what was written: another sha256"
    except FileNotFoundError:
        return f"its file {place}/{file.name} is not there"
    except OSError as error:
        return f"its file {place}/{file.name} cannot be read: {error.strerror}"
    return ""


def _sha256(path: Path, place: Place) -> str:
    """As it was taken: of a received image without what only wraps the data set."""
    if place == "in":
        return data_set_sha256(path)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _orphans(spool: Spool, place: Place, names: set[str], findings: Findings) -> None:
    for name in sorted(names):
        _leftover(spool.path(place, name), f"{place}/{name} belongs to no row", findings)


def _leftover(path: Path, what: str, findings: Findings) -> None:
    """What is being written now, or was when a process died, has no row yet; the node removes or adopts it in time."""
    try:
        age_s = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return
    if age_s > 2 * ORPHAN_AGE_S:
        findings.violations.append(f"I6 {what}, for {age_s / 3600:.0f} h")
    else:
        findings.notes.append(f"I6 {what}, for {age_s:.0f} s")
