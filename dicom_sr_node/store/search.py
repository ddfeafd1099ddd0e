"""Images as people look for them: by what the request said, by when, by what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Engine, and_, exists, func, or_, select, true
from sqlalchemy.sql.elements import ColumnElement

from dicom_sr_node.errors import NotFound
from dicom_sr_node.records import State
from dicom_sr_node.store.engine import now, reading
from dicom_sr_node.store.tables import delivery, destination, instance, job, output

PAGE = 50


class Fate(StrEnum):
    """Where an image is, in one word."""

    WAITING = "waiting"
    WORKING = "working"
    ON_ITS_WAY = "on its way"  # made, and not yet everywhere
    DELIVERED = "delivered"
    SKIPPED = "skipped"
    DEAD = "dead"  # it, or one of its deliveries


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is looked for; everything that is given must hold. Texts are parts of what is there, in any case."""

    text: str = ""  # in accession, name or patient id
    accession: str = ""
    name: str = ""
    patient_id: str = ""
    study_date: str = ""  # YYYYMMDD
    since: float | None = None  # received
    until: float | None = None
    fate: Fate | None = None
    peer: str = ""  # a destination's name or a caller's AE title
    modality: str = ""
    before: int | None = None  # the id of the last one of the page before


def _way(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(output.c.job_id == job.c.id, delivery.c.output_id == output.c.id, *conditions)


_DEAD_WAY = _way(delivery.c.state == State.DEAD)
_OPEN_WAY = _way(delivery.c.state.in_((State.READY, State.RUNNING, State.SENT)))
_FATES: Mapping[Fate, ColumnElement[bool]] = {
    Fate.WAITING: job.c.state == State.READY,
    Fate.WORKING: job.c.state == State.RUNNING,
    Fate.ON_ITS_WAY: and_(job.c.state == State.DONE, _OPEN_WAY),
    # Most are delivered: an expression, or SQLite would look at all of them by index before it takes the newest.
    Fate.DELIVERED: and_(job.c.state + "" == State.DONE, ~_OPEN_WAY, ~_DEAD_WAY),
    Fate.SKIPPED: job.c.state == State.SKIPPED,
    Fate.DEAD: or_(job.c.state == State.DEAD, _DEAD_WAY),
}


class Search:
    """Reads only."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def images(self, wanted: Wanted, limit: int = PAGE) -> list[dict[str, Any]]:
        """The newest that are found: columns of `instance`, and of its job as job_*; dead_ways, open_ways."""
        return self._rows(*_conditions(wanted), limit=limit)

    def image(self, image_id: int) -> dict[str, Any]:
        """One of them. Raises NotFound."""
        found = self._rows(instance.c.id == image_id, limit=1)
        if not found:
            raise NotFound(f"no image {image_id}")
        return found[0]

    def _rows(self, *conditions: ColumnElement[bool], limit: int) -> list[dict[str, Any]]:
        columns = (
            instance,
            job.c.id.label("job_id"),
            job.c.state,
            job.c.priority,
            job.c.reason,
            job.c.attempt,
            job.c.updated_at,
            _DEAD_WAY.label("dead_ways"),
            _OPEN_WAY.label("open_ways"),
        )
        statement = select(*columns).join(job, job.c.instance_id == instance.c.id).where(*conditions)
        with reading(self._engine) as connection:
            rows = connection.execute(statement.order_by(instance.c.id.desc()).limit(limit)).mappings()
            return [{**row, "fate": fate_of(row)} for row in rows]

    def counts(self) -> dict[Fate, int]:
        """How many images of each fate there are; one with a dead delivery counts as dead only."""
        states = select(job.c.state, func.count()).group_by(job.c.state)
        with reading(self._engine) as connection:
            jobs = {row[0]: row[1] for row in connection.execute(states)}
            open_jobs = self._jobs_with(connection, State.READY, State.RUNNING, State.SENT)
            dead_jobs = self._jobs_with(connection, State.DEAD)
        open_jobs -= dead_jobs
        made = jobs.get(State.DONE, 0)
        return {
            Fate.WAITING: jobs.get(State.READY, 0),
            Fate.WORKING: jobs.get(State.RUNNING, 0),
            Fate.ON_ITS_WAY: len(open_jobs),
            Fate.DELIVERED: made - len(open_jobs) - len(dead_jobs),
            Fate.SKIPPED: jobs.get(State.SKIPPED, 0),
            Fate.DEAD: jobs.get(State.DEAD, 0) + len(dead_jobs),
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
        oldest = select(clock - func.min(job.c.run_at)).where(job.c.state == State.READY, job.c.run_at <= clock)
        with reading(self._engine) as connection:
            return float(connection.scalar(oldest) or 0.0)

    @staticmethod
    def _jobs_with(connection: Any, *states: State) -> set[int]:
        ways = select(output.c.job_id).distinct().join(delivery, delivery.c.output_id == output.c.id)
        return set(connection.scalars(ways.where(delivery.c.state.in_(states))))


def fate_of(row: Mapping[Any, Any]) -> Fate:
    """Of a row with state, dead_ways and open_ways."""
    if row["state"] == State.DONE:
        return Fate.DEAD if row["dead_ways"] else Fate.ON_ITS_WAY if row["open_ways"] else Fate.DELIVERED
    fates = {State.READY: Fate.WAITING, State.RUNNING: Fate.WORKING, State.SKIPPED: Fate.SKIPPED}
    return fates.get(State(row["state"]), Fate.DEAD)


def _each_word(column: ColumnElement[str], text: str) -> ColumnElement[bool]:
    """In any order: a name may be written with or without the marks between its parts (PS3.5 6.2.1)."""
    return and_(true(), *(column.icontains(word, autoescape=True) for word in text.replace("^", " ").split()))


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.name:
        found.append(_each_word(instance.c.patient_name, wanted.name))
    columns = {"accession": instance.c.accession, "patient_id": instance.c.patient_id}
    for key, column in columns.items():
        if text := getattr(wanted, key):
            found.append(column.icontains(text, autoescape=True))
    if wanted.text:
        named = _each_word(instance.c.patient_name, wanted.text)
        others = (instance.c.accession, instance.c.patient_id)
        found.append(or_(named, *(column.icontains(wanted.text, autoescape=True) for column in others)))
    if wanted.study_date:
        found.append(instance.c.study_date == wanted.study_date)
    if wanted.since is not None:
        found.append(instance.c.received_at >= wanted.since)
    if wanted.until is not None:
        found.append(instance.c.received_at < wanted.until)
    if wanted.fate is not None:
        found.append(_FATES[wanted.fate])
    if wanted.modality:
        found.append(instance.c.modality == wanted.modality.upper())
    if wanted.peer:
        # An expression, or SQLite would go through all deliveries to the peer by index, once for each image.
        to_peer = _way(delivery.c.destination + "" == wanted.peer)
        found.append(or_(instance.c.calling_ae == wanted.peer, to_peer))
    if wanted.before is not None:
        found.append(instance.c.id < wanted.before)
    return found
