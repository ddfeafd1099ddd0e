"""Derived images and their way to each destination."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, func, select, update

from dicom_sr_node.errors import NotFound
from dicom_sr_node.records import Delivery, Output, State
from dicom_sr_node.store import leases
from dicom_sr_node.store.engine import now, reading
from dicom_sr_node.store.instances import journal
from dicom_sr_node.store.tables import delivery, job, output


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
            return set(connection.scalars(select(output.c.file)))

    def _one(self, where: Any, missing: str) -> Output:
        with reading(self._engine) as connection:
            row = connection.execute(select(output).where(where)).mappings().one_or_none()
        if row is None:
            raise NotFound(missing)
        return Output(**row)


class Deliveries:
    """The table `delivery`. Every method that takes a Delivery raises Fenced when its attempt no longer holds it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def claim(self, worker: str, lease_s: float, destination: str | None = None) -> Delivery | None:
        """The delivery that has waited longest, to one destination or to any; or None."""
        where = () if destination is None else (delivery.c.destination == destination,)
        row = leases.claim(self._engine, delivery, worker, lease_s, *where)
        return Delivery(**row) if row else None

    def release(self, worker: str) -> int:
        """Give back what a dead process of this slot held."""
        return leases.release(self._engine, delivery, worker)

    def done(self, held: Delivery, note: str) -> None:
        """The destination has the object."""
        self._write(held, "delivered", f"to {held.destination}{note and ': ' + note}", state=State.DONE, reason=note)

    def dead(self, held: Delivery, reason: str) -> None:
        """The destination will never take it."""
        self._write(held, "delivery dead", f"to {held.destination}: {reason}", state=State.DEAD, reason=reason)

    def fail(self, held: Delivery, reason: str, *, delay_s: float) -> None:
        """Try again later."""
        values = {"state": State.READY, "failures": held.failures + 1, "run_at": now(self._engine) + delay_s}
        self._write(held, "delivery failed", f"to {held.destination}: {reason}", reason=reason, **values)

    def postpone(self, destination: str, delay_s: float) -> None:
        """Let everything else for a destination that does not answer wait, too; it is no failure of theirs."""
        waiting = (delivery.c.destination == destination) & (delivery.c.state == State.READY)
        later = now(self._engine) + delay_s
        with self._engine.begin() as connection:
            connection.execute(update(delivery).where(waiting, delivery.c.run_at < later).values(run_at=later))

    def retry(self, job_id: int) -> int:
        """Send again what is dead of a job's output, by hand; returns how many."""
        clock = now(self._engine)
        mine = select(output.c.id).where(output.c.job_id == job_id)
        where = delivery.c.output_id.in_(mine) & (delivery.c.state == State.DEAD)
        values = {"state": State.READY, "failures": 0, "run_at": clock, "updated_at": clock}
        with self._engine.begin() as connection:
            return connection.execute(update(delivery).where(where).values(**values)).rowcount

    def of_output(self, output_id: int) -> list[Delivery]:
        """All ways of an output."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(delivery).where(delivery.c.output_id == output_id).order_by(delivery.c.id))
            return [Delivery(**row) for row in rows.mappings()]

    def counts(self) -> dict[str, dict[State, int]]:
        """How many deliveries are in each state, for each destination."""
        columns = (delivery.c.destination, delivery.c.state)
        with reading(self._engine) as connection:
            found = connection.execute(select(*columns, func.count()).group_by(*columns)).all()
        counts = {destination: dict.fromkeys(State, 0) for destination, _, _ in found}
        for destination, state, number in found:
            counts[destination][State(state)] = number
        return counts

    def _write(self, held: Delivery, what: str, text: str, **values: Any) -> None:
        of_image = (
            select(job.c.instance_id).join(output, output.c.job_id == job.c.id).where(output.c.id == held.output_id)
        )
        with self._engine.begin() as connection:
            leases.write(connection, delivery, held.id, held.attempt, **values)
            journal(connection, connection.execute(of_image).scalar_one(), what, text)
