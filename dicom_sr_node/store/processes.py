"""Which processes work on this database, and what they say of themselves."""

from __future__ import annotations

import os
from typing import Any

from sqlalchemy import Engine, delete, insert, select, update

from dicom_sr_node.store.engine import now, reading
from dicom_sr_node.store.tables import slot

ALIVE_S = 30.0  # a slot that was not seen for longer is taken for dead
HEARTBEAT_S = 5.0


class Processes:
    """The table `slot`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def announce(self, name: str, note: str) -> None:
        """A process has taken a slot."""
        clock = now(self._engine)
        with self._engine.begin() as connection:
            connection.execute(delete(slot).where(slot.c.name == name))
            connection.execute(insert(slot).values(name=name, pid=os.getpid(), note=note, since=clock, seen_at=clock))

    def heartbeat(self, name: str) -> None:
        """It is still there."""
        with self._engine.begin() as connection:
            connection.execute(update(slot).where(slot.c.name == name).values(seen_at=now(self._engine)))

    def leave(self, name: str) -> None:
        """It ends in good order."""
        with self._engine.begin() as connection:
            connection.execute(delete(slot).where(slot.c.name == name))

    def now(self) -> float:
        """What time it is for the database."""
        with reading(self._engine) as connection:
            return float(connection.execute(select(now(self._engine))).scalar_one())

    def ls(self) -> list[dict[str, Any]]:
        """All slots: name, process id, note, since, and how many seconds ago each was seen."""
        age = (now(self._engine) - slot.c.seen_at).label("seen_s_ago")
        with reading(self._engine) as connection:
            rows = connection.execute(
                select(slot.c.name, slot.c.pid, slot.c.note, slot.c.since, age).order_by(slot.c.name)
            )
            return [dict(row) for row in rows.mappings()]
