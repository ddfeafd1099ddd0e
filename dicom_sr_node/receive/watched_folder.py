"""A watched folder: DICOM files that are put there are taken as if they had been sent, and removed once they are safe.

A file is taken when it has not changed between two looks. What is no DICOM goes to the folder `refused` in it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from pydicom import Dataset

from dicom_sr_node.dicom import damage, header
from dicom_sr_node.domain.errors import Unreadable
from dicom_sr_node.domain.records import Identity, Origin, Stored
from dicom_sr_node.runtime import failpoints, log
from dicom_sr_node.spool import Spool

_log = log.get("receive")
CALLER = Origin(calling_ae="WATCHED_FOLDER")
_REFUSED = "refused"
_PIECE = 1 << 20

Commit = Callable[[Identity, Stored, str, Dataset, Origin], int | None]
Shape = tuple[int, int]  # size, time of the last change


class WatchedFolder:
    """One folder, looked at now and then by one receiver."""

    def __init__(self, folder: Path, spool: Spool, most_bytes: int, reserve_mb: int) -> None:
        self._folder, self._spool, self._most_bytes, self._reserve_mb = folder, spool, most_bytes, reserve_mb
        self._seen: dict[Path, Shape] = {}
        self._kept: dict[Path, Stored] = {}
        self._barred: set[Path] = set()

    def look(self, commit: Commit) -> int:
        """Take what has not changed since the last look; returns how many files. Raises OSError, SQLAlchemyError."""
        now = {path: _shape(path) for path in self._files()}
        ready = [path for path, shape in now.items() if shape == self._seen.get(path)]
        self._seen = now
        barred = {path for path in ready if not _may_be_taken(path)}
        if barred - self._barred:
            why = "the node's user may not read or remove them"
            _log.error("files cannot be taken", extra={"count": len(barred), "why": why})
        self._barred = barred
        count = 0
        for path in ready:
            if path in barred:
                continue
            if full := self._spool.is_full(self._reserve_mb):
                _log.error("watched folder waits", extra={"why": full})
                return count
            self._take(path, commit)
            count += 1
        return count

    def _take(self, path: Path, commit: Commit) -> None:
        """It is removed only after its copy is durable and its row is committed."""
        stored = self._kept.pop(path, None) or self._spool.keep("in", _pieces(path))
        kept = self._spool.path("in", stored.name)
        try:
            if stored.bytes > self._most_bytes:
                raise Unreadable(f"larger than {self._most_bytes >> 20} MB (scp.max_object_mb)")
            identity, syntax, rest = header.read_identity(kept)
            stored = replace(stored, sha256=header.data_set_sha256(kept))
        except Unreadable as error:
            self._refuse(path, stored, str(error))
            return
        self._kept[path] = stored  # a commit that fails may yet have happened: it is tried again with the same copy
        try:
            new = commit(identity, stored, syntax, rest, CALLER)
        except damage.DAMAGE as error:  # nothing of it can be written down, now or later
            self._refuse(path, stored, log.kind_of(error))
            return
        del self._kept[path]
        failpoints.hit("in.committed")
        if new is None:
            self._spool.discard("in", stored.name)
        path.unlink()
        _log.info("received", extra={"image": new or "again", "bytes": stored.bytes})

    def _refuse(self, path: Path, stored: Stored, why: str) -> None:
        """Out of the way, so that the others are taken; somebody must look at it."""
        self._kept.pop(path, None)
        self._spool.discard("in", stored.name)
        (self._folder / _REFUSED).mkdir(exist_ok=True)
        path.rename(self._folder / _REFUSED / f"{stored.name}-{path.name}"[:200])
        _log.warning("file refused", extra={"why": why})

    def _files(self) -> Iterator[Path]:
        """In it and below it; not what programs hide while they write, and no link that leads elsewhere."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in sorted(self._folder.rglob("*")):
            inner = path.relative_to(self._folder).parts
            hidden = inner[0] == _REFUSED or any(part.startswith(".") for part in inner)
            if not hidden and path.is_file() and not path.is_symlink():
                yield path


def _may_be_taken(path: Path) -> bool:
    return os.access(path, os.R_OK) and os.access(path.parent, os.W_OK | os.X_OK)


def _shape(path: Path) -> Shape:
    try:
        status = path.stat()
    except FileNotFoundError:
        return (-1, -1)
    return status.st_size, status.st_mtime_ns


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece
