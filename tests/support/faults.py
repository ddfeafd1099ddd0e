"""What decoders were seen to do, on demand. Imported by the process under test, so it imports little itself."""

from __future__ import annotations

import os


def end_by(number: int) -> None:
    """Crash."""
    os.kill(os.getpid(), number)


def compute_for_ever() -> None:
    """Never end."""
    while True:
        sum(range(1000))


def take_memory() -> int:
    """Ask for a gigabyte."""
    return len(bytearray(1 << 30))


_held: list[bytes] = []


def hold_memory() -> None:
    """Keep 400 MiB."""
    _held.append(b"x" * (400 << 20))


def raise_a_surprise() -> None:
    """Raise what no one catches by name."""
    raise LookupError("what no one thought of")
