"""Images as people look for them: by what the request said, by when, by what became of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, and_, func, or_, select, true
from sqlalchemy.sql.elements import ColumnElement

from dicom_sr_node.domain.errors import NotFound
from dicom_sr_node.domain.image_status import ImageStatus
from dicom_sr_node.domain.records import JobState
from dicom_sr_node.store.engine import now, reading
from dicom_sr_node.store.status import DEAD_DELIVERY, IS_STATUS, OPEN_DELIVERY, delivery_where, status_of
from dicom_sr_node.store.tables import delivery, destination, instance, job, output

PAGE = 50


@dataclass(frozen=True, kw_only=True)
class ImageQuery:
    """What is looked for; everything that is given must hold. Texts are parts of what is there, in any case."""

    text: str = ""  # in accession, name or patient id
    accession: str = ""
    name: str = ""
    patient_id: str = ""
    study_date: str = ""  # YYYYMMDD
    since: float | None = None  # received
    until: float | None = None
    status: ImageStatus | None = None
    peer: str = ""  # a destination's name or a caller's AE title
    modality: str = ""
    before: int | None = None  # the id of the last one of the page before


class Search:
    """Reads only."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def images(self, query: ImageQuery, limit: int = PAGE) -> list[dict[str, Any]]:
        """The newest that match: columns of `instance` and of its job, and the status."""
        return self._rows(*_conditions(query), limit=limit)

    def image(self, image_id: int) -> dict[str, Any]:
        """One of them. Raises NotFound."""
        rows = self._rows(instance.c.id == image_id, limit=1)
        if not rows:
            raise NotFound(f"no image {image_id}")
        return rows[0]

    def _rows(self, *conditions: ColumnElement[bool], limit: int) -> list[dict[str, Any]]:
        columns = (
            instance,
            job.c.id.label("job_id"),
            job.c.state,
            job.c.priority,
            job.c.reason,
            job.c.attempt,
            job.c.updated_at,
            DEAD_DELIVERY.label("dead_deliveries"),
            OPEN_DELIVERY.label("open_deliveries"),
        )
        statement = select(*columns).join(job, job.c.instance_id == instance.c.id).where(*conditions)
        with reading(self._engine) as connection:
            rows = connection.execute(statement.order_by(instance.c.id.desc()).limit(limit)).mappings()
            return [{**row, "status": status_of(row)} for row in rows]

    def counts(self) -> dict[ImageStatus, int]:
        """How many images of each status there are; one with a dead delivery counts as dead only."""
        states = select(job.c.state, func.count()).group_by(job.c.state)
        with reading(self._engine) as connection:
            jobs = {row[0]: row[1] for row in connection.execute(states)}
            open_jobs = self._jobs_with(connection, JobState.READY, JobState.RUNNING, JobState.SENT)
            dead_jobs = self._jobs_with(connection, JobState.DEAD)
        open_jobs -= dead_jobs
        done = jobs.get(JobState.DONE, 0)
        return {
            ImageStatus.WAITING: jobs.get(JobState.READY, 0),
            ImageStatus.WORKING: jobs.get(JobState.RUNNING, 0),
            ImageStatus.ON_ITS_WAY: len(open_jobs),
            ImageStatus.DELIVERED: done - len(open_jobs) - len(dead_jobs),
            ImageStatus.SKIPPED: jobs.get(JobState.SKIPPED, 0),
            ImageStatus.DEAD: jobs.get(JobState.DEAD, 0) + len(dead_jobs),
        }

    def received_since(self, seconds: float) -> int:
        """How many images came within so many seconds."""
        since = now(self._engine) - seconds
        here = and_(instance.c.purged_at == 0, instance.c.received_at > since)  # both by index
        gone = and_(instance.c.purged_at > since, instance.c.received_at > since)
        recent = select(func.count()).select_from(instance).where(or_(here, gone))
        with reading(self._engine) as connection:
            return connection.scalar(recent) or 0

    def last_seen(self) -> dict[str, float]:
        """AE title -> seconds since its last image."""
        age = (now(self._engine) - func.max(instance.c.received_at)).label("age_s")
        with reading(self._engine) as connection:
            rows = connection.execute(select(instance.c.calling_ae, age).group_by(instance.c.calling_ae))
            return {row[0]: row[1] for row in rows}

    def last_deliveries(self) -> dict[str, float]:
        """Destination -> seconds since it took something."""
        age = (now(self._engine) - destination.c.delivered_at).label("age_s")
        with reading(self._engine) as connection:
            rows = connection.execute(select(destination.c.name, age).where(destination.c.delivered_at > 0))
            return {row[0]: row[1] for row in rows}

    def oldest_waiting_s(self) -> float:
        """How long the oldest image that is due has waited; 0 if none is."""
        clock = now(self._engine)
        oldest = select(clock - func.min(job.c.run_at)).where(job.c.state == JobState.READY, job.c.run_at <= clock)
        with reading(self._engine) as connection:
            return float(connection.scalar(oldest) or 0.0)

    @staticmethod
    def _jobs_with(connection: Any, *states: JobState) -> set[int]:
        ways = select(output.c.job_id).distinct().join(delivery, delivery.c.output_id == output.c.id)
        return set(connection.scalars(ways.where(delivery.c.state.in_(states))))


def _each_word(column: ColumnElement[str], text: str) -> ColumnElement[bool]:
    """In any order: a name may be written with or without the marks between its parts (PS3.5 6.2.1)."""
    return and_(true(), *(column.icontains(word, autoescape=True) for word in text.replace("^", " ").split()))


def _conditions(query: ImageQuery) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if query.name:
        conditions.append(_each_word(instance.c.patient_name, query.name))
    columns = {"accession": instance.c.accession, "patient_id": instance.c.patient_id}
    for key, column in columns.items():
        if text := getattr(query, key):
            conditions.append(column.icontains(text, autoescape=True))
    if query.text:
        named = _each_word(instance.c.patient_name, query.text)
        others = (instance.c.accession, instance.c.patient_id)
        conditions.append(or_(named, *(column.icontains(query.text, autoescape=True) for column in others)))
    if query.study_date:
        conditions.append(instance.c.study_date == query.study_date)
    if query.since is not None:
        conditions.append(instance.c.received_at >= query.since)
    if query.until is not None:
        conditions.append(instance.c.received_at < query.until)
    if query.status is not None:
        conditions.append(IS_STATUS[query.status])
    if query.modality:
        conditions.append(instance.c.modality == query.modality.upper())
    if query.peer:
        # An expression, or SQLite would go through all deliveries to the peer by index, once for each image.
        to_peer = delivery_where(delivery.c.destination + "" == query.peer)
        conditions.append(or_(instance.c.calling_ae == query.peer, to_peer))
    if query.before is not None:
        conditions.append(instance.c.id < query.before)
    return conditions
