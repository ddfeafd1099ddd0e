"""What a check of the surroundings found: one line of `srnode doctor`, with what to change."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """Of one check."""

    PASS = "PASS"  # noqa: S105 - no password
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Diagnosis:
    """What was tried, how it went, and what to change."""

    name: str
    verdict: Verdict
    found: str
    remedy: str = ""
