"""Derived images and their way to each destination."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, case, exists, func, insert, select, update
from sqlalchemy.sql.elements import ColumnElement

from dicom_sr_node.domain.errors import NotFound
from dicom_sr_node.domain.records import Delivery, JobState, Output, StoredOutput
from dicom_sr_node.store import audit_queue, leases, supersession
from dicom_sr_node.store.destinations import Destinations
from dicom_sr_node.store.engine import now, reading
from dicom_sr_node.store.jobs import BY_HAND
from dicom_sr_node.store.journal import journal
from dicom_sr_node.store.tables import delivery, job, output


class Superseded(NamedTuple):
    """A job whose result is not so any more, its image, and the image that says so."""

    job_id: int
    instance_id: int
    newer_id: int


class Outputs:
    """The table `output`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def get(self, output_id: int) -> Output:
        """One output. Raises NotFound."""
        return self._one(output.c.id == output_id, f"no output {output_id}")

    def of_job(self, job_id: int) -> list[Output]:
        """What a job made: the derived image first, then what accompanies it."""
        statement = select(output).where(output.c.job_id == job_id).order_by(output.c.id)
        with reading(self._engine) as connection:
            return [Output(**row) for row in connection.execute(statement).mappings()]

    def files(self) -> set[str]:
        """The spool files that rows refer to."""
        with reading(self._engine) as connection:
            return set(connection.scalars(select(output.c.file).where(output.c.purged_at == 0)))

    def superseded(self) -> list[Superseded]:
        """Results that name another patient, study or order than their source does now, and that somebody has."""
        newer, its_job = output.alias(), job.alias()
        has_it = exists().where(
            delivery.c.output_id == output.c.id, delivery.c.state.in_((JobState.DONE, JobState.SENT))
        )
        statement = (
            select(output.c.job_id, job.c.instance_id, its_job.c.instance_id.label("newer_id"))
            .join(job, job.c.id == output.c.job_id)
            .join(newer, newer.c.id == output.c.superseded_by)
            .join(its_job, its_job.c.id == newer.c.job_id)
            .where(output.c.superseded_by > 0, has_it)
            .distinct()
            .order_by(output.c.job_id)
        )
        with reading(self._engine) as connection:
            return [Superseded(**row) for row in connection.execute(statement).mappings()]

    def reject(self, job_id: int, note: StoredOutput, who: str) -> None:
        """A rejection note on the results of a job, on its way; they need nobody's attention any more."""
        clock, stored = now(self._engine), note.stored
        with self._engine.begin() as connection:
            file = {"file": stored.name, "sha256": stored.sha256, "bytes": stored.bytes, "created_at": clock}
            made = insert(output).values(**note.columns, **file, job_id=job_id).returning(output.c.id)
            output_id = connection.execute(made).scalar_one()
            for name in note.destinations:
                way = {"output_id": output_id, "destination": name, "run_at": clock, "updated_at": clock}
                connection.execute(insert(delivery).values(**way, **leases.NEW))
            self._settle(connection, job_id, "rejected", f"{who}, to {', '.join(note.destinations)}")

    def dismiss(self, job_id: int, who: str) -> None:
        """Results that name another patient need nobody's attention any more."""
        with self._engine.begin() as connection:
            self._settle(connection, job_id, "supersession dismissed", who)

    @staticmethod
    def _settle(connection: Connection, job_id: int, what: str, text: str) -> None:
        is_superseded = (output.c.job_id == job_id) & (output.c.superseded_by > 0)
        connection.execute(update(output).where(is_superseded).values(superseded_by=supersession.SETTLED))
        image = connection.execute(select(job.c.instance_id).where(job.c.id == job_id)).scalar_one()
        journal(connection, image, what, text)

    def _one(self, where: Any, missing: str) -> Output:
        with reading(self._engine) as connection:
            row = connection.execute(select(output).where(where)).mappings().one_or_none()
        if row is None:
            raise NotFound(missing)
        return Output(**row)


def queued_at() -> ColumnElement[float]:
    """When a delivery was queued, or last retried by hand."""
    return case((delivery.c.since > output.c.created_at, delivery.c.since), else_=output.c.created_at)


class Deliveries:
    """The table `delivery`. Every method that takes a Delivery raises Fenced when its attempt no longer holds it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._destinations = Destinations(engine)

    def claim(self, worker: str, lease_s: float, destination: str) -> Delivery | None:
        """The delivery to a destination that has waited longest; or None, also while the destination rests."""
        if self._destinations.rests(destination):
            return None
        row = leases.claim(self._engine, delivery, worker, lease_s, delivery.c.destination == destination)
        return Delivery(**row) if row else None

    def strays(self, known: Collection[str]) -> list[str]:
        """Destinations of open deliveries that are not among the `known` ones."""
        is_open = delivery.c.state.in_((JobState.READY, JobState.RUNNING, JobState.SENT))
        with reading(self._engine) as connection:
            return list(
                connection.scalars(
                    select(delivery.c.destination).distinct().where(is_open, delivery.c.destination.not_in(known))
                )
            )

    def release(self, worker: str) -> int:
        """Give back what a dead process of this slot held."""
        return leases.release(self._engine, delivery, worker)

    def done(self, claim: Delivery, note: str, message: str = "") -> None:
        """The destination has the object; message: for the audit trail."""
        text = f"to {claim.destination}{note and ': ' + note}"
        self._write(claim, "delivered", text, message, state=JobState.DONE, reason=note)

    def sent(self, claim: Delivery, note: str, message: str = "") -> None:
        """The destination has the object, and will be asked to commit to it."""
        text = f"to {claim.destination}{note and ': ' + note}; commitment is awaited"
        asking: dict[str, Any] = {"commit_at": now(self._engine), "commit_tries": 0, "commitment_id": None}
        self._write(claim, "sent", text, message, state=JobState.SENT, reason=note, **asking)

    def dead(self, claim: Delivery, reason: str) -> None:
        """The destination will never take it."""
        self._write(claim, "delivery dead", f"to {claim.destination}: {reason}", state=JobState.DEAD, reason=reason)

    def fail(self, claim: Delivery, reason: str, *, delay_s: float, doubts: int = 0) -> None:
        """Try again later. doubts: how often the destination did not want the object."""
        values: dict[str, Any] = {"state": JobState.READY, "failures": claim.failures + 1, "doubts": doubts}
        values["run_at"] = now(self._engine) + delay_s
        self._write(claim, "delivery failed", f"to {claim.destination}: {reason}", reason=reason, **values)

    def age_s(self, claim: Delivery) -> float:
        """How long ago it was queued, or last retried by hand."""
        statement = select(now(self._engine) - queued_at()).join(output, output.c.id == delivery.c.output_id)
        statement = statement.where(delivery.c.id == claim.id)
        with reading(self._engine) as connection:
            return float(connection.execute(statement).scalar_one())

    def retry(self, job_id: int, who: str = BY_HAND) -> int:
        """Send at once what is dead or waits of a job's output; returns how many."""
        return self._again(job_id, (JobState.DEAD, JobState.READY), "sending retried", who)

    def states_of_job(self, job_id: int) -> set[JobState]:
        """The states that deliveries of a job's output are in."""
        statement = select(delivery.c.state).distinct().join(output, output.c.id == delivery.c.output_id)
        with reading(self._engine) as connection:
            return {JobState(state) for state in connection.scalars(statement.where(output.c.job_id == job_id))}

    def repeat(self, job_id: int, who: str = BY_HAND) -> int:
        """Send all of a job's output again, also what was delivered: the same bytes; returns how many."""
        return self._again(job_id, (JobState.DEAD, JobState.DONE), "sent again", who)

    def _again(self, job_id: int, states: tuple[JobState, ...], what: str, who: str) -> int:
        clock = now(self._engine)
        outputs = select(output.c.id).where(output.c.job_id == job_id, output.c.purged_at == 0)
        where = delivery.c.output_id.in_(outputs) & delivery.c.state.in_(states)
        fresh = {"failures": 0, "doubts": 0, "commit_tries": 0, "since": clock}
        values = {"state": JobState.READY, "run_at": clock, "updated_at": clock, **fresh}
        with self._engine.begin() as connection:
            changed = update(delivery).where(where).values(**values).returning(delivery.c.destination)
            destinations = list(connection.scalars(changed))
            if destinations:
                image = connection.execute(select(job.c.instance_id).where(job.c.id == job_id)).scalar_one()
                journal(connection, image, what, f"{who}, to {', '.join(destinations)}")
        for name in set(destinations):
            self._destinations.reopen(name)
        return len(destinations)

    def of_output(self, output_id: int) -> list[Delivery]:
        """All ways of an output."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(delivery).where(delivery.c.output_id == output_id).order_by(delivery.c.id))
            return [Delivery(**row) for row in rows.mappings()]

    def counts(self) -> dict[str, dict[JobState, int]]:
        """How many deliveries are in each state, for each destination."""
        columns = (delivery.c.destination, delivery.c.state)
        with reading(self._engine) as connection:
            rows = connection.execute(select(*columns, func.count()).group_by(*columns)).all()
        counts = {destination: dict.fromkeys(JobState, 0) for destination, _, _ in rows}
        for destination, state, number in rows:
            counts[destination][JobState(state)] = number
        return counts

    def _write(self, claim: Delivery, what: str, text: str, message: str = "", **values: Any) -> None:
        of_image = (
            select(job.c.instance_id).join(output, output.c.job_id == job.c.id).where(output.c.id == claim.output_id)
        )
        with self._engine.begin() as connection:
            leases.write(connection, delivery, claim.id, claim.attempt, **values)
            journal(connection, connection.execute(of_image).scalar_one(), what, text)
            audit_queue.enqueue(connection, message)
