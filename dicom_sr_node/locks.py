"""One process for each slot of a data directory, told by a lock that the kernel drops when the process dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from dicom_sr_node.errors import AlreadyRunning

MOST_SLOTS = 64


class Slot:
    """A held lock. It is kept until the process ends."""

    def __init__(self, name: str, descriptor: int) -> None:
        self.name, self._descriptor = name, descriptor

    def free(self) -> None:
        """Let another process have it."""
        os.close(self._descriptor)


def take(data_dir: Path, name: str) -> Slot:
    """The slot of this name. Raises AlreadyRunning."""
    folder = data_dir / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise AlreadyRunning(
            f"another `{name}` already works in {data_dir}; stop it, or set node.data_dir to another folder"
        ) from None
    return Slot(name, descriptor)


def take_any(data_dir: Path, role: str) -> Slot:
    """The first free slot `role-0`, `role-1`, ... of a role that may run several times."""
    for number in range(MOST_SLOTS):
        try:
            return take(data_dir, f"{role}-{number}")
        except AlreadyRunning:
            continue
    raise AlreadyRunning(f"{MOST_SLOTS} processes of role {role} already work in {data_dir}")
