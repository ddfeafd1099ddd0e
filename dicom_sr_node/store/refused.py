"""Callers that were turned away lately, so that the administrator sees what to allow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Engine, delete, insert, select, update

from dicom_sr_node.domain.records import Caller
from dicom_sr_node.store import audit_queue
from dicom_sr_node.store.engine import now, reading
from dicom_sr_node.store.leases import storable
from dicom_sr_node.store.tables import refused

_MOST = 100  # rows; a flood of invented names pushes the oldest out


class Refused:
    """The table `refused`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, callers: Mapping[Caller, int], messages: Mapping[Caller, str]) -> None:
        """Count so many more refusals of each, with an audit message for each."""
        clock = now(self._engine)
        with self._engine.begin() as connection:
            for caller, times in callers.items():
                ae, address, why = storable(caller.calling_ae), caller.address[:64], caller.why[:128]
                same = (refused.c.calling_ae == ae) & (refused.c.address == address) & (refused.c.why == why)
                counted = update(refused).where(same).values(times=refused.c.times + times, last_at=clock)
                if not connection.execute(counted).rowcount:
                    row = {"calling_ae": ae, "address": address, "why": why, "times": times, "last_at": clock}
                    connection.execute(insert(refused).values(**row))
                audit_queue.enqueue(connection, messages.get(caller, ""))
            newest = connection.scalars(select(refused.c.last_at).order_by(refused.c.last_at.desc()).limit(_MOST)).all()
            if len(newest) == _MOST:
                connection.execute(delete(refused).where(refused.c.last_at < newest[-1]))

    def ls(self) -> list[dict[str, Any]]:
        """The newest first."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(refused).order_by(refused.c.last_at.desc()))
            return [dict(row) for row in rows.mappings()]
