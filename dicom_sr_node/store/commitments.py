"""Storage commitment (PS3.4 J): what we asked of peers, and what peers asked of us."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from sqlalchemy import Connection, Engine, insert, select, update
from sqlalchemy.exc import IntegrityError

from dicom_sr_node.domain.records import CommitmentRequest, JobState, Reference
from dicom_sr_node.store import leases
from dicom_sr_node.store.engine import now, reading
from dicom_sr_node.store.journal import journal
from dicom_sr_node.store.outputs import queued_at
from dicom_sr_node.store.tables import asked, commitment, delivery, job, output

MOST_REFERENCES = 100  # in one request
MOST_TRIES = 3  # requests to a peer that need not commit or will not be asked; deliveries that were not committed to
_ASKED = "asked to commit, no report yet"


class Commitments:
    """The table `commitment`, and the deliveries that are SENT."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def begin(
        self, destination: str, transaction_uid: str, *, wait_s: float, required: bool, patience_s: float
    ) -> list[Reference]:
        """Commit a new request before it is sent; returns what it is about, or nothing if nothing is due.

        It is made anew unless `sent` is called within `wait_s`. What was asked for too often, or waited `patience_s`
        since it was stored, ends here: done if commitment is optional; dead if it is `required`.
        """
        clock = now(self._engine)
        due = (
            select(
                delivery.c.id,
                delivery.c.commit_tries,
                delivery.c.commitment_id,
                delivery.c.reason,
                (clock - queued_at()).label("waited_s"),
                output.c.sop_class_uid,
                output.c.sop_instance_uid,
            )
            .join(output, output.c.id == delivery.c.output_id)
            .where(
                delivery.c.destination == destination, delivery.c.state == JobState.SENT, delivery.c.commit_at <= clock
            )
            .order_by(delivery.c.id)
            .limit(MOST_REFERENCES)
        )
        with reading(self._engine) as connection:  # an idle sender takes no write lock
            if connection.execute(due).first() is None:
                return []
        with self._engine.begin() as connection:
            rows = connection.execute(due.with_for_update(of=delivery, skip_locked=True)).all()
            if not rows:
                return []
            awaited = []
            for row in rows:
                still_hopes = row.commit_tries < MOST_TRIES or (required and row.reason == _ASKED)
                if row.commitment_id is None or (still_hopes and row.waited_s < patience_s):
                    awaited.append(row)
                else:
                    reason = f"no commitment after {row.commit_tries} requests; the last: {row.reason}"
                    _end(connection, row.id, JobState.DEAD if required else JobState.DONE, reason)
            if not awaited:
                return []
            columns = {
                "transaction_uid": transaction_uid,
                "destination": destination,
                "sent_at": clock,
                "reported_at": 0.0,
            }
            request = connection.execute(insert(commitment).values(**columns).returning(commitment.c.id)).scalar_one()
            values = {"commitment_id": request, "commit_at": clock + wait_s}
            ids = [row.id for row in awaited]
            connection.execute(update(delivery).where(delivery.c.id.in_(ids)).values(**values))
            return [
                Reference(sop_class_uid=row.sop_class_uid, sop_instance_uid=row.sop_instance_uid) for row in awaited
            ]

    def sent(self, transaction_uid: str, wait_s: float) -> None:
        """The peer has taken the request; its report is awaited for so long."""
        self.postpone(transaction_uid, _ASKED, wait_s, counts=True)

    def give_up(self, transaction_uid: str, reason: str) -> None:
        """The peer does not take such requests from us, and need not: what it stored is done."""
        deliveries = (
            select(delivery.c.id)
            .join(commitment, commitment.c.id == delivery.c.commitment_id)
            .where(commitment.c.transaction_uid == transaction_uid, delivery.c.state == JobState.SENT)
        )
        with self._engine.begin() as connection:
            for delivery_id in connection.scalars(deliveries).all():
                _end(connection, delivery_id, JobState.DONE, f"stored; {reason}")

    def postpone(self, transaction_uid: str, reason: str, delay_s: float, *, counts: bool) -> None:
        """The request has come to nothing yet: make another one later. counts: the peer was asked, or refused it."""
        request = select(commitment.c.id).where(commitment.c.transaction_uid == transaction_uid).scalar_subquery()
        values = {
            "commit_at": now(self._engine) + delay_s,
            "commit_tries": delivery.c.commit_tries + int(counts),
            "reason": leases.storable(reason),
        }
        is_awaited = (delivery.c.commitment_id == request) & (delivery.c.state == JobState.SENT)
        with self._engine.begin() as connection:
            connection.execute(update(delivery).where(is_awaited).values(**values))

    def destination_of(self, transaction_uid: str) -> str | None:
        """Whom a transaction was asked of; None if it is none of ours."""
        with reading(self._engine) as connection:
            return connection.scalar(
                select(commitment.c.destination).where(commitment.c.transaction_uid == transaction_uid)
            )

    def probe(self, transaction_uid: str, destination: str) -> None:
        """Note a request about nothing of ours, to see whether a report comes."""
        row = {"transaction_uid": transaction_uid, "destination": destination, "reported_at": 0.0}
        with self._engine.begin() as connection:
            connection.execute(insert(commitment).values(**row, sent_at=now(self._engine)))

    def is_reported(self, transaction_uid: str) -> bool:
        """Whether the peer has reported."""
        reported = (commitment.c.transaction_uid == transaction_uid) & (commitment.c.reported_at > 0)
        with reading(self._engine) as connection:
            return connection.scalar(select(commitment.c.id).where(reported)) is not None

    def report(self, transaction_uid: str, committed: Sequence[str], failed: Mapping[str, int]) -> None:
        """What the peer says of each SOP Instance UID (failed: with its Failure Reason).

        A second report changes nothing. What the peer does not have is sent again; a delivery that is not committed to
        again and again is dead.
        """
        with self._engine.begin() as connection:
            open_request = (commitment.c.transaction_uid == transaction_uid) & (commitment.c.reported_at == 0)
            values = {"reported_at": now(self._engine)}
            request = connection.scalar(
                update(commitment).where(open_request).values(**values).returning(commitment.c.id)
            )
            if request is None:
                return
            waiting = (
                select(delivery.c.id, delivery.c.failures, output.c.sop_instance_uid)
                .join(output, output.c.id == delivery.c.output_id)
                .where(delivery.c.commitment_id == request, delivery.c.state == JobState.SENT)
                .with_for_update(of=delivery)
            )
            for row in connection.execute(waiting).all():
                if row.sop_instance_uid in failed:
                    reason = f"not committed: failure reason 0x{failed[row.sop_instance_uid]:04X}"
                    if row.failures + 1 >= MOST_TRIES:
                        _end(connection, row.id, JobState.DEAD, reason)
                    else:
                        again = {"failures": row.failures + 1, "run_at": now(self._engine), "commit_tries": 0}
                        _end(connection, row.id, JobState.READY, reason, **again)
                elif row.sop_instance_uid in committed:
                    _end(connection, row.id, JobState.DONE, "committed")


def _end(connection: Connection, delivery_id: int, state: JobState, reason: str, **values: object) -> None:
    """A delivery leaves SENT."""
    clock = now(connection.engine)
    sent = (delivery.c.id == delivery_id) & (delivery.c.state == JobState.SENT)
    connection.execute(update(delivery).where(sent).values(state=state, reason=reason, updated_at=clock, **values))
    of_image = (
        select(job.c.instance_id, delivery.c.destination)
        .join(output, output.c.job_id == job.c.id)
        .join(delivery, delivery.c.output_id == output.c.id)
        .where(delivery.c.id == delivery_id)
    )
    row = connection.execute(of_image).one()
    what = {JobState.DONE: "delivered", JobState.DEAD: "delivery dead"}.get(state, "not committed")
    journal(connection, row.instance_id, what, f"to {row.destination}: {reason}")


class InboundRequests:
    """The table `asked`. Methods that take an Asked raise Fenced when its attempt no longer holds it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(
        self, transaction_uid: str, calling_ae: str, address: str, references: Sequence[Reference], delay_s: float
    ) -> bool:
        """A request; False if this transaction is already known. Its report leaves after so long."""
        row = {
            "transaction_uid": transaction_uid,
            "calling_ae": leases.storable(calling_ae),
            "address": address[:64],
            "since": now(self._engine),
            "references": json.dumps([asdict(reference) for reference in references]),
            "run_at": now(self._engine) + delay_s,
            "updated_at": now(self._engine),
        }
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(asked).values(**row, **leases.NEW))
        except IntegrityError:
            return False
        return True

    def claim(self, worker: str, lease_s: float, transaction_uid: str | None = None) -> CommitmentRequest | None:
        """The next one to report on, or one transaction whether it is due or not."""
        if transaction_uid is not None:
            waiting = (asked.c.transaction_uid == transaction_uid) & (asked.c.state == JobState.READY)
            with self._engine.begin() as connection:
                connection.execute(update(asked).where(waiting).values(run_at=now(self._engine)))
            row = leases.claim(self._engine, asked, worker, lease_s, asked.c.transaction_uid == transaction_uid)
        else:
            row = leases.claim(self._engine, asked, worker, lease_s)
        if row is None:
            return None
        references = tuple(Reference(**reference) for reference in json.loads(row["references"]))
        names = ("id", "transaction_uid", "calling_ae", "address", "attempt", "failures", "since")
        return CommitmentRequest(**{name: row[name] for name in names}, references=references)

    def release(self, worker: str) -> int:
        """Give back what a dead process of this slot held."""
        return leases.release(self._engine, asked, worker)

    def done(self, claim: CommitmentRequest) -> None:
        """The peer has our report."""
        with self._engine.begin() as connection:
            leases.write(connection, asked, claim.id, claim.attempt, state=JobState.DONE)

    def dead(self, claim: CommitmentRequest, reason: str) -> None:
        """The peer will never have it."""
        with self._engine.begin() as connection:
            leases.write(connection, asked, claim.id, claim.attempt, state=JobState.DEAD, reason=reason)

    def age_s(self, claim: CommitmentRequest) -> float:
        """How long ago the peer asked."""
        with reading(self._engine) as connection:
            return float(connection.execute(select(now(self._engine) - claim.since)).scalar_one())

    def fail(self, claim: CommitmentRequest, reason: str, *, delay_s: float) -> None:
        """Report later."""
        later = {"state": JobState.READY, "failures": claim.failures + 1, "run_at": now(self._engine) + delay_s}
        with self._engine.begin() as connection:
            leases.write(connection, asked, claim.id, claim.attempt, reason=reason, **later)
