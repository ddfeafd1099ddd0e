"""The queue of images to upscale."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, or_, select, update

from dicom_sr_node.domain.errors import NotFound
from dicom_sr_node.domain.image_status import ImageStatus
from dicom_sr_node.domain.records import Job, JobResult, JobState, Priority, SkipReason, Stored, StoredOutput
from dicom_sr_node.store import arrivals, leases, supersession
from dicom_sr_node.store.engine import again_if_beaten, now, reading
from dicom_sr_node.store.journal import journal
from dicom_sr_node.store.status import DEAD_DELIVERY, IS_STATUS, OPEN_DELIVERY, status_of
from dicom_sr_node.store.tables import comparison, delivery, instance, job, output

_AS_BEFORE: dict[str, Any] = {"state": JobState.DONE, "reason": "", "skipped": ""}  # what has a result stays done
BY_HAND = "by hand"  # who did it, where nobody is named


class Jobs:
    """The table `job`. Every method that takes a Job raises Fenced when its attempt no longer holds it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def claim(self, worker: str, lease_s: float) -> Job | None:
        """The job that has waited longest, or None."""
        row = leases.claim(self._engine, job, worker, lease_s)
        return Job(**row) if row else None

    def renew(self, claim: Job, lease_s: float) -> None:
        """Hold on to a job."""
        leases.renew(self._engine, job, claim.id, claim.attempt, lease_s)

    def put_back(self, claim: Job) -> None:
        """Give a job back untried."""
        leases.put_back(self._engine, job, claim.id, claim.attempt)

    def release(self, worker: str) -> int:
        """Give back what a dead process of this slot held."""
        return leases.release(self._engine, job, worker)

    @again_if_beaten
    def done(self, claim: Job, result: JobResult, took_s: float = 0.0) -> list[Stored]:
        """Commit the outputs, their deliveries and the end of the job, all or nothing.

        Returns the files that are not needed: an output of the same SOP Instance UID is already there, and the first
        one stays; it goes to whoever gets it now and did not before.
        """
        with self._engine.begin() as connection:
            values = {"state": JobState.DONE, "reason": "", "skipped": "", "quality": json.dumps(result.quality)}
            leases.write(connection, job, claim.id, claim.attempt, **values)
            note = f"by rule {result.rule}, {took_s:.1f} s, try {claim.attempt}, in {claim.worker}"
            journal(connection, claim.instance_id, "worked on", note)
            for why in result.left_out:
                journal(connection, claim.instance_id, "left out", why)
            served = arrivals.served(connection, claim.id)
            spare = [kept.stored for kept in result.outputs if not self._keep(connection, claim, kept, served)]
            supersession.note(connection, claim.instance_id)
            arrivals.judge_next(connection, claim.id, claim.instance_id)
        return spare

    def _keep(self, connection: Connection, claim: Job, kept: StoredOutput, served: set[str]) -> bool:
        """One object and its ways to those who have none of this job yet; False if its file is not needed."""
        columns, stored, clock = kept.columns, kept.stored, now(self._engine)
        is_same = output.c.sop_instance_uid == columns["sop_instance_uid"]
        same = connection.execute(select(output.c.id, output.c.purged_at).where(is_same)).one_or_none()
        have = served | (arrivals.ways(connection, same.id) if same else set())
        new = [name for name in kept.destinations if name not in have]
        where = f"to {', '.join(new)}" if new else "kept here"
        file = {"file": stored.name, "sha256": stored.sha256, "bytes": stored.bytes, "created_at": clock}
        text, is_needed = f"{columns['kind']} x{columns['scale']} by {columns['model']}, {where}", True
        if same is not None:
            output_id, is_needed = same.id, same.purged_at > 0  # purged, and its source came again
            text = f"the {columns['kind']} was already there{f', now also {where}' if new else ''}"
            if is_needed:
                back = update(output).where(output.c.id == output_id)
                connection.execute(back.values(**file, purged_at=0.0, job_id=claim.id))
        elif served and kept.destinations and not new:
            text, is_needed = f"{text}: whoever gets it has an earlier one", False
        else:
            row = {**columns, **file, "job_id": claim.id}
            output_id = connection.execute(insert(output).values(**row).returning(output.c.id)).scalar_one()
            if kept.compared is not None:
                row = {"output_id": output_id, "numbers": json.dumps(kept.compared)}
                connection.execute(insert(comparison).values(**row))
        for name in new:
            way = {
                "output_id": output_id,
                "destination": name,
                "run_at": clock,
                "updated_at": clock,
                "since": clock if same else 0.0,
            }
            connection.execute(insert(delivery).values(**way, **leases.NEW, priority=claim.priority))
        journal(connection, claim.instance_id, "done", text)
        return is_needed

    def end(
        self,
        claim: Job,
        state: JobState,
        reason: str,
        *,
        skipped: SkipReason | None = None,
        quality: Mapping[str, object] | None = None,
    ) -> None:
        """Skipped or dead."""
        with self._engine.begin() as connection:
            values = {"state": state, "reason": reason, "skipped": skipped or ""}
            if state is JobState.SKIPPED and arrivals.served(connection, claim.id):
                values = _AS_BEFORE
            leases.write(
                connection, job, claim.id, claim.attempt, **values, quality=json.dumps(quality) if quality else ""
            )
            journal(connection, claim.instance_id, state, reason)
            arrivals.judge_next(connection, claim.id, claim.instance_id)

    def fail(self, claim: Job, reason: str, *, delay_s: float, failures: int = 1, lost: int = 0) -> None:
        """Try again later; the try counts as so many failures of the image, or as lost."""
        clock = now(self._engine)
        counts = {"failures": claim.failures + failures, "lost": claim.lost + lost}
        values = {"state": JobState.READY, "run_at": clock + delay_s, **counts}
        with self._engine.begin() as connection:
            leases.write(connection, job, claim.id, claim.attempt, reason=reason, **values)
            journal(connection, claim.instance_id, "try failed", reason)

    def retry(self, job_id: int, who: str = BY_HAND) -> Job:
        """Start a dead or skipped job again. Raises NotFound for another state."""
        values = {"failures": 0, "lost": 0, "reason": "", "skipped": ""}
        return self._by_hand(job_id, (JobState.DEAD, JobState.SKIPPED), JobState.READY, "retried", who, **values)

    def cancel(self, job_id: int, who: str = BY_HAND) -> Job:
        """Take a job off the queue; a worker that is on it will find itself fenced. Raises NotFound."""
        values = {"reason": f"cancelled {who}", "skipped": SkipReason.CANCELLED}
        return self._by_hand(job_id, (JobState.READY, JobState.RUNNING), JobState.SKIPPED, "cancelled", who, **values)

    def hurry(self, job_id: int, who: str = BY_HAND) -> Job:
        """Before all others, and at once. Raises NotFound where it does not wait any more."""
        return self._by_hand(job_id, (JobState.READY,), JobState.READY, "marked as urgent", who, priority=Priority.STAT)

    def _by_hand(
        self, job_id: int, allowed: tuple[JobState, ...], state: JobState, what: str, who: str, **values: Any
    ) -> Job:
        clock = now(self._engine)
        with self._engine.begin() as connection:
            row = connection.execute(select(job).where(job.c.id == job_id)).mappings().one_or_none()
            if row is None:
                raise NotFound(f"no job {job_id}")
            if row["state"] not in allowed:
                raise NotFound(f"job {job_id} is {row['state']}; only {' or '.join(allowed)} can become {state}")
            if state is JobState.READY and connection.scalar(
                select(instance.c.purged_at).where(instance.c.id == row["instance_id"])
            ):
                raise NotFound(f"the image of job {job_id} was purged; send it again from the archive")
            if state is JobState.SKIPPED and arrivals.served(connection, job_id):
                values = _AS_BEFORE
            statement = (
                update(job)
                .where(job.c.id == job_id)
                .values(run_at=clock, updated_at=clock, **{"state": state, **values})
            )
            changed = connection.execute(statement.returning(job)).mappings().one()
            journal(connection, row["instance_id"], what, who)
            return Job(**changed)

    def get(self, job_id: int) -> Job:
        """One job. Raises NotFound."""
        with reading(self._engine) as connection:
            row = connection.execute(select(job).where(job.c.id == job_id)).mappings().one_or_none()
        if row is None:
            raise NotFound(f"no job {job_id}")
        return Job(**row)

    def of_image(self, sop_instance_uid: str) -> Job | None:
        """The newest job for an image of this UID, if there is one."""
        statement = select(job).join(instance, job.c.instance_id == instance.c.id).order_by(job.c.id.desc()).limit(1)
        with reading(self._engine) as connection:
            row = (
                connection.execute(statement.where(instance.c.sop_instance_uid == sop_instance_uid)).mappings().first()
            )
        return Job(**row) if row else None

    def ls(self, statuses: Collection[ImageStatus], limit: int) -> list[dict[str, Any]]:
        """The newest jobs with the image they belong to and its status; statuses: only these, all if there is none."""
        columns = (job, instance.c.modality, instance.c.calling_ae, instance.c.sop_instance_uid, instance.c.received_at)
        ends = (DEAD_DELIVERY.label("dead_deliveries"), OPEN_DELIVERY.label("open_deliveries"))
        statement = select(*columns, *ends).join(instance, job.c.instance_id == instance.c.id)
        if statuses:
            statement = statement.where(or_(*(IS_STATUS[status] for status in statuses)))
        with reading(self._engine) as connection:
            rows = connection.execute(statement.order_by(job.c.id.desc()).limit(limit)).mappings()
            listed = [{**row, "status": status_of(row)} for row in rows]
        return [{key: row[key] for key in row if key not in ("dead_deliveries", "open_deliveries")} for row in listed]

    def counts(self) -> dict[JobState, int]:
        """How many jobs are in each state."""
        with reading(self._engine) as connection:
            counts = {
                row[0]: row[1] for row in connection.execute(select(job.c.state, func.count()).group_by(job.c.state))
            }
        return {state: counts.get(state, 0) for state in JobState}

    def skip_reasons(self) -> dict[str, int]:
        """How many jobs were skipped for each reason of the closed list."""
        statement = select(job.c.skipped, func.count()).where(job.c.state == JobState.SKIPPED).group_by(job.c.skipped)
        with reading(self._engine) as connection:
            return {row[0]: row[1] for row in connection.execute(statement)}
