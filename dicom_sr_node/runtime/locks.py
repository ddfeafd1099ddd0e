"""One process for each slot of a data directory, told by a lock that the kernel drops when the process dies."""

from __future__ import annotations

import fcntl
import os
import pwd
import time
import uuid
from pathlib import Path

from dicom_sr_node.domain.errors import AlreadyRunning, NodeError

MOST_SLOTS = 64


class ProcessLock:
    """A held lock. It is kept until the process ends."""

    def __init__(self, name: str, descriptor: int) -> None:
        self.name, self._descriptor = name, descriptor

    def free(self) -> None:
        """Let another process have it."""
        os.close(self._descriptor)


def ensure_ours(data_dir: Path) -> None:
    """root may write everywhere, and what it writes the node's user cannot use. Raises NodeError."""
    if os.geteuid() or not data_dir.exists() or not (owner := data_dir.stat().st_uid):
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"#{owner}"
    raise NodeError(
        f"{data_dir} belongs to {name}, who could not use what root leaves there: sudo -u {name} srnode ..."
    )


def take(data_dir: Path, name: str, wait_s: float = 0.0) -> ProcessLock:
    """The slot of this name; waits so long for a process that is about to end. Raises AlreadyRunning."""
    ensure_ours(data_dir)
    folder = data_dir / "locks"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < deadline:
                time.sleep(0.1)
                continue
            os.close(descriptor)
            raise AlreadyRunning(
                f"the data directory {data_dir} is locked: another `{name}` already works in it; stop it, or set "
                "node.data_dir to another folder"
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise NodeError(
                f"{folder} cannot be locked: {error.strerror}; put node.data_dir on a local disk"
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        return ProcessLock(name, descriptor)


def take_any(data_dir: Path, role: str) -> ProcessLock:
    """The first free slot `role-0`, `role-1`, ... of a role that may run several times."""
    for number in range(MOST_SLOTS):
        try:
            return take(data_dir, f"{role}-{number}")
        except AlreadyRunning:
            continue
    raise AlreadyRunning(f"{MOST_SLOTS} processes of role {role} already work in {data_dir}")


def holders(data_dir: Path, name: str) -> list[int]:
    """The process ids of those who hold the slots `name`, `name-0`, ... now."""
    pids = []
    for path in (data_dir / "locks").glob(f"{name}*"):
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = file.read()
                pids += [int(pid)] if pid.isdigit() else []
    return pids


def node_id(data_dir: Path) -> str:
    """Which data directory this is: two machines may share a spool and a database, and even their name."""
    path = data_dir / "locks" / "id"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        for _ in range(50):  # another process is just writing it
            if known := path.read_text():
                return known
            time.sleep(0.1)
        raise NodeError(f"{path} is empty: remove it") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(uuid.uuid4().hex[:8])
        file.flush()
        os.fsync(file.fileno())
    return path.read_text()
