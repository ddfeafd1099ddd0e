"""Where files lie. A file appears under its name only when all of its bytes are on the disk, and never changes after.

data_dir/spool/in      received images          data_dir/spool/outbox   derived images
data_dir/spool/tmp/S   being written by slot S  data_dir/out            results, when no destination is configured
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from dicom_sr_node.records import Stored

Place = Literal["in", "outbox"]


class Spool:
    """The files of one data directory, as seen by one process (`slot`), which alone writes below `tmp/slot`."""

    def __init__(self, data_dir: Path, slot: str) -> None:
        self.root = data_dir / "spool"
        self._tmp = self.root / "tmp" / slot
        for folder in (self.root / "in", self.root / "outbox", self._tmp):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def sweep(self) -> int:
        """Remove what an earlier process of this slot left half written; returns how many files."""
        left = list(self._tmp.iterdir())
        for path in left:
            path.unlink(missing_ok=True)  # a dying process of this slot may still tidy up
        return len(left)

    def keep(self, place: Place, chunks: Iterable[bytes], *, hash_from: int = 0) -> Stored:
        """Write a file durably: tmp, fsync, rename, fsync of the folder. Raises OSError and leaves nothing behind.

        hash_from: the sha256 leaves out so many first bytes (preamble and file meta information of a received image).
        """
        name = uuid.uuid4().hex
        written = self._tmp / name
        try:
            size, digest = _write(written, chunks, hash_from)
            written.rename(self.path(place, name))
            sync_folder(self.root / place)
        except BaseException:
            written.unlink(missing_ok=True)
            raise
        return Stored(name=name, sha256=digest, bytes=size)

    def path(self, place: Place, name: str) -> Path:
        """The file of a name that `keep` gave."""
        return self.root / place / name

    def discard(self, place: Place, name: str) -> None:
        """Remove a file that no row refers to."""
        self.path(place, name).unlink(missing_ok=True)

    def names(self, place: Place) -> set[str]:
        """Every file there is."""
        return {path.name for path in (self.root / place).iterdir()}


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


def _write(path: Path, chunks: Iterable[bytes], hash_from: int) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    with path.open("xb") as file:
        for chunk in chunks:
            file.write(chunk)
            digest.update(chunk[max(0, hash_from - size) :])
            size += len(chunk)
        file.flush()
        os.fsync(file.fileno())
    return size, digest.hexdigest()
