"""Who does something."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Actor:
    """For journal and audit trail. address: of the machine, where it is another one."""

    name: str
    address: str = ""
