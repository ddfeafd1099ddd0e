"""Programs, files and waiting."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
_NOT_PASSED_ON = ("SRNODE", "PYTHONDONTWRITEBYTECODE")  # hundreds of processes start: none compiles all again
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith(_NOT_PASSED_ON)} | {"TCP_NODELAY": "1"}


def wait_until(found: Callable[[], T | None], within_s: float = 60, what: str = "it") -> T:
    """The first true answer. Fails the test when none comes in time."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if answer := found():
            return answer
        time.sleep(0.05)
    pytest.fail(f"{what} did not happen within {within_s:g} s")


def free_port() -> int:
    """A port that nobody listens on, below those that the kernel gives to outgoing connections."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def is_gone(pid: int) -> bool:
    """Whether a process has ended, so that the kernel has closed all that it held open."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def need(program: str, package: str) -> str:
    """The path of a Debian tool, or a skip that says how to get it."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed: apt-get install {package}")
    return found


def shared(*parts: str) -> Path:
    """A file of the shared data, or a skip."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"the shared data is not beside the project: {'/'.join(parts)}")
    return path


def run(*command: str | Path, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program to its end with its output captured."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
        errors="replace",
        **options,
    )
    return ended_well(done, check)


def ended_well(done: subprocess.CompletedProcess[str], check: bool = True) -> subprocess.CompletedProcess[str]:
    """The same, once its exit code is looked at."""
    assert not check or done.returncode == 0, f"{done.args} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done


@contextmanager
def started(thing: T) -> Iterator[T]:
    """Start now, stop at the end, whatever happens."""
    thing.start()  # type: ignore[attr-defined]
    try:
        yield thing
    finally:
        thing.stop()  # type: ignore[attr-defined]


def dciodvfy_errors(path: Path) -> set[str]:
    """The error lines of dciodvfy."""
    output = run(need("dciodvfy", "dicom3tools"), "-new", path, check=False)
    return {line for line in (output.stdout + output.stderr).splitlines() if line.startswith("Error")}


SYNTHETIC_DATA_WAIVER = (
    "Error - </(0008,001c)> - Attribute with an even group number is not a recognized standard attribute"
)
