"""Where files lie. A file appears under its name only when all of its bytes are on the disk, and never changes after.

spool/in      received images             spool/outbox   derived images
spool/tmp/S   being written by slot S     data_dir/out   results, when no destination is configured
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from dicom_sr_node.domain.records import Stored
from dicom_sr_node.runtime import failpoints

Place = Literal["in", "outbox"]
PLACES: tuple[Place, ...] = ("in", "outbox")

_SMALL_DISK = 10  # the reserve is at most this part of the disk
_FEW_INODES = 100  # at least this part of the disk's inodes stays free


class Draft:
    """A file that is being written. It is kept whole, or not at all."""

    def __init__(self, spool: Spool, place: Place) -> None:
        self.name = uuid.uuid4().hex
        self._place: Place = place
        self._target, self._written = spool.path(place, self.name), spool.tmp / self.name
        self._file = self._written.open("xb")
        self._digest, self._size = hashlib.sha256(), 0

    def write(self, data: bytes, *, hashed: bool = True) -> None:
        """Add bytes; not `hashed` is what only wraps the data set."""
        self._file.write(data)
        self._size += len(data)
        if hashed:
            self._digest.update(data)

    def read_back(self) -> Path:
        """Where to read what was written so far, while it is no more than a draft."""
        self._file.flush()
        return self._written

    def keep(self) -> Stored:
        """Make it durable: fsync, rename, fsync of the folder. Raises OSError and leaves nothing behind."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            failpoints.hit(f"{self._place}.written")
            self._written.rename(self._target)
            sync_folder(self._target.parent)
            failpoints.hit(f"{self._place}.renamed")
        except BaseException:
            self.drop()
            self._target.unlink(missing_ok=True)
            raise
        return Stored(name=self.name, sha256=self._digest.hexdigest(), bytes=self._size)

    def drop(self) -> None:
        """Leave nothing behind."""
        with suppress(OSError):  # the last bytes find no room
            self._file.close()
        self._written.unlink(missing_ok=True)


class Spool:
    """The files of one spool folder, as seen by one process (`slot`), which alone writes below `tmp/slot`."""

    def __init__(self, root: Path, slot: str) -> None:
        self.root, self.tmp = root, root / "tmp" / slot
        for place in PLACES:
            (self.root / place).mkdir(parents=True, exist_ok=True, mode=0o700)

    def sweep(self) -> int:
        """Remove what an earlier process of this slot left half written; returns how many files."""
        left = list(self.tmp.iterdir()) if self.tmp.is_dir() else []
        for path in left:
            path.unlink(missing_ok=True)  # a dying process of this slot may still tidy up
        return len(left)

    def sweep_forsaken(self, age_s: float) -> int:
        """Remove what any slot left half written so long ago: its machine may never come back."""
        old = [path for path in (self.root / "tmp").glob("*/*") if _age_s(path) > age_s]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)

    def draft(self, place: Place) -> Draft:
        """A new file, to be written in pieces. Raises OSError."""
        self.tmp.mkdir(parents=True, exist_ok=True, mode=0o700)
        return Draft(self, place)

    def keep(self, place: Place, chunks: Iterable[bytes]) -> Stored:
        """Write a whole file durably. Raises OSError and leaves nothing behind."""
        draft = self.draft(place)
        try:
            for chunk in chunks:
                draft.write(chunk)
        except BaseException:
            draft.drop()
            raise
        return draft.keep()

    def path(self, place: Place, name: str) -> Path:
        """The file of a name that `keep` gave."""
        return self.root / place / name

    def discard(self, place: Place, name: str) -> None:
        """Remove a file that no row refers to."""
        self.path(place, name).unlink(missing_ok=True)

    def names(self, place: Place) -> set[str]:
        """Every file there is."""
        return {path.name for path in (self.root / place).iterdir()}

    def is_full(self, reserve_mb: int) -> str:
        """Why nothing more may be taken, or nothing if there is room."""
        return is_full(self.root, reserve_mb)


def _age_s(path: Path) -> float:
    """Since it was last written; 0 for what has gone meanwhile."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def is_full(folder: Path, reserve_mb: int) -> str:
    """Why nothing more may be put on a disk, or nothing if there is room. Raises OSError.

    The reserve is never more than a tenth of the disk, so that a small disk can be used at all.
    """
    space, inodes = shutil.disk_usage(folder), os.statvfs(folder)
    reserve = min(reserve_mb << 20, space.total // _SMALL_DISK)
    if space.free < reserve:
        return f"{space.free >> 20} MiB are free, and {reserve >> 20} MiB are kept in reserve (disk.reserve_mb)"
    if inodes.f_files and inodes.f_favail < inodes.f_files // _FEW_INODES:
        return f"only {inodes.f_favail} more files can be made on this disk"
    return ""


def write(target: Path, content: bytes) -> None:
    """Write durably; `target` appears whole or not at all. Raises OSError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    written = target.with_name(f".{target.name}.part")
    with written.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    written.rename(target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename within a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
