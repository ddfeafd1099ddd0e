"""Rows that are claimed: the one queue algorithm, for jobs and deliveries, on SQLite and PostgreSQL.

A claim is: select one due row (locked), then `attempt + 1` and a lease, in one transaction. `attempt` is the fencing
token: each later write names it, and no row updated means that somebody else has the work. Correctness rests on the
token, only liveness on clocks and leases.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, Row, RowMapping, Table, select, update
from sqlalchemy.sql.elements import ColumnElement

from dicom_sr_node.domain.errors import Fenced
from dicom_sr_node.domain.records import JobState, Priority
from dicom_sr_node.store.engine import now, reading

NEW = {"state": JobState.READY, "attempt": 0, "failures": 0, "lost": 0, "lease_until": 0.0, "worker": "", "reason": ""}
_MOST_TEXT = 2000  # characters of a reason
_DIED = "the worker died or its lease ran out"


def claim(engine: Engine, table: Table, worker: str, lease_s: float, *where: ColumnElement[bool]) -> RowMapping | None:
    """Take the row that has been due longest among those of the highest priority, or None."""
    clock = now(engine)
    with reading(engine) as connection:  # an idle worker takes no write lock
        if _first_due(connection, table, clock, where) is None:
            return None
    with engine.begin() as connection:
        due = _first_due(connection, table, clock, where)
        if due is None:
            return None
        values: dict[str, Any] = {"state": JobState.RUNNING, "attempt": table.c.attempt + 1, "worker": worker}
        if due.state == JobState.RUNNING:
            values |= {"lost": table.c.lost + 1, "reason": _DIED}
        statement = update(table).where(table.c.id == due.id)
        return (
            connection.execute(
                statement.values(**values, lease_until=clock + lease_s, updated_at=clock).returning(table)
            )
            .mappings()
            .one()
        )


def _first_due(
    connection: Connection, table: Table, clock: ColumnElement[float], where: tuple[ColumnElement[bool], ...]
) -> Row[int, str] | None:
    expired = [table.c.state == JobState.RUNNING, table.c.lease_until < clock]
    waiting = [[table.c.state == JobState.READY, table.c.priority == p, table.c.run_at <= clock] for p in Priority]
    for conditions in (expired, *waiting):  # each is one range of an index, however long the queue
        row = connection.execute(
            select(table.c.id, table.c.state)
            .where(*conditions, *where)
            .order_by(table.c.run_at, table.c.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        ).one_or_none()
        if row is not None:
            return row
    return None


def write(connection: Connection, table: Table, row_id: int, attempt: int, **values: Any) -> None:
    """Change a row that this attempt holds. Raises Fenced if it does not hold it any more."""
    is_ours = (table.c.id == row_id) & (table.c.attempt == attempt) & (table.c.state == JobState.RUNNING)
    if "reason" in values:
        values["reason"] = storable(values["reason"])
    clock = now(connection.engine)
    changed = connection.execute(update(table).where(is_ours).values(updated_at=clock, **values))
    if changed.rowcount != 1:
        raise Fenced(f"{table.name} {row_id}: attempt {attempt} no longer holds it")


def storable(text: str) -> str:
    """Words of others as a database takes them: PostgreSQL has no NUL in a text, and neither has half a character."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")[:_MOST_TEXT]


def renew(engine: Engine, table: Table, row_id: int, attempt: int, lease_s: float) -> None:
    """Hold on to a row for another lease. Raises Fenced."""
    with engine.begin() as connection:
        write(connection, table, row_id, attempt, lease_until=now(engine) + lease_s)


def put_back(engine: Engine, table: Table, row_id: int, attempt: int) -> None:
    """Give a row back untried (the process is stopping). Raises Fenced."""
    with engine.begin() as connection:
        write(connection, table, row_id, attempt, state=JobState.READY, worker="", run_at=now(engine))


def release(engine: Engine, table: Table, worker: str) -> int:
    """Give back what an earlier process of this slot held when it died; the caller holds the slot's lock."""
    clock = now(engine)
    with engine.begin() as connection:
        is_ours = (table.c.state == JobState.RUNNING) & (table.c.worker == worker)
        values = {
            "state": JobState.READY,
            "worker": "",
            "run_at": clock,
            "lost": table.c.lost + 1,
            "reason": _DIED,
        }
        return connection.execute(update(table).where(is_ours).values(**values, updated_at=clock)).rowcount
