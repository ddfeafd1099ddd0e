"""The audit trail's outbox: messages are committed with what they tell of, and leave from here."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Engine, delete, insert

from dicom_sr_node.domain.records import JobState
from dicom_sr_node.store import leases
from dicom_sr_node.store.engine import now
from dicom_sr_node.store.tables import audit


@dataclass(frozen=True)
class AuditMessage:
    """One audit message (PS3.15 A.5) as XML, held by an attempt."""

    id: int
    message: str
    attempt: int
    failures: int


def enqueue(connection: Connection, message: str) -> None:
    """Add a message to the transaction of what it tells of; an empty one is none."""
    if message:
        clock = now(connection.engine)
        connection.execute(insert(audit).values(message=message, run_at=clock, updated_at=clock, **leases.NEW))


class AuditQueue:
    """The table `audit`. Methods that take a Message raise Fenced when its attempt no longer holds it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, message: str) -> None:
        """A message of something that is no transaction."""
        with self._engine.begin() as connection:
            enqueue(connection, message)

    def claim(self, worker: str, lease_s: float) -> AuditMessage | None:
        """The oldest one."""
        row = leases.claim(self._engine, audit, worker, lease_s)
        return AuditMessage(row["id"], row["message"], row["attempt"], row["failures"]) if row else None

    def release(self, worker: str) -> int:
        """Give back what a dead process of this slot held."""
        return leases.release(self._engine, audit, worker)

    def done(self, claim: AuditMessage) -> None:
        """The trail has it."""
        with self._engine.begin() as connection:
            leases.write(connection, audit, claim.id, claim.attempt, state=JobState.DONE)
            connection.execute(delete(audit).where(audit.c.id == claim.id))

    def fail(self, claim: AuditMessage, reason: str) -> None:
        """Try again, for ever, and first: the order of the trail is the order of events."""
        with self._engine.begin() as connection:
            later = {"state": JobState.READY, "lease_until": 0.0, "failures": claim.failures + 1}
            leases.write(connection, audit, claim.id, claim.attempt, reason=reason, **later)
