"""Images that come again: what the rules say to them now is done, whatever became of them the first time.

A sender whose image was stored is told so, and must be able to rely on it: a rule that was mended, a caller that a
crash has lost, or a second caller with another destination counts as if the image had come for the first time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.sql.elements import ColumnElement

from dicom_sr_node.domain.records import Instance, JobState, Origin, Route, SkipReason
from dicom_sr_node.store.engine import now
from dicom_sr_node.store.journal import journal
from dicom_sr_node.store.leases import storable
from dicom_sr_node.store.tables import arrival, delivery, instance, job, output


def columns(origin: Origin) -> dict[str, str]:
    """Who called whom, as columns."""
    return {"calling_ae": storable(origin.calling_ae), "called_ae": storable(origin.called_ae)}


def due(connection: Connection, route: Route) -> dict[str, Any]:
    """When a job is worked on."""
    clock = now(connection.engine)
    return {"priority": route.priority, "run_at": clock + route.delay_s, "updated_at": clock}


def again(
    connection: Connection, image_id: int, file: str, origin: Origin, route: Callable[[Origin], Route]
) -> int | None:
    """The same bytes have come in `file`; returns the image's id if that is its file now, None if it is not needed."""
    is_its_job = job.c.instance_id == image_id
    its_job = connection.execute(select(job).where(is_its_job).with_for_update()).one()
    known = Instance(**connection.execute(select(instance).where(instance.c.id == image_id)).mappings().one())
    if known.file == file:
        return image_id  # another receiver has adopted this very file
    note = f"from {origin.calling_ae}{', after it was purged' if known.purged_at else ''}"
    journal(connection, image_id, "received again", note)
    more: dict[str, Any] = {}
    if known.purged_at:
        more |= {"file": file, "purged_at": 0.0, "received_at": now(connection.engine)}
    if known.origin == Origin():  # adopted, and nobody knew from whom
        more |= columns(origin)
    if more:
        connection.execute(update(instance).where(instance.c.id == image_id).values(**more))
    new, before = route(origin), route(known.origin)
    if its_job.state in (JobState.READY, JobState.RUNNING):
        is_learned = its_job.state == JobState.READY and known.origin == Origin()  # in time for the work on it
        if not is_learned and set(new.destinations) - set(before.destinations):
            connection.execute(insert(arrival).values(instance_id=image_id, **columns(origin)))
    elif its_job.state == JobState.DONE:
        if set(new.destinations) - _have(connection, its_job.id, known):
            _judge_anew(connection, its_job.id, image_id, origin, new)
    elif its_job.skipped != SkipReason.CANCELLED:  # by a person, who decides anew
        origin, new = (origin, new) if new.destinations else (known.origin, before)
        _judge_anew(connection, its_job.id, image_id, origin, new)
    return image_id if known.purged_at else None


def judge_next(connection: Connection, job_id: int, image_id: int) -> None:
    """At the end of a job: whoever sent its image again meanwhile gets what the rules say to that."""
    waiting = select(arrival).where(arrival.c.instance_id == image_id).order_by(arrival.c.id).limit(1)
    row = connection.execute(waiting).one_or_none()
    if row is not None:
        connection.execute(delete(arrival).where(arrival.c.id == row.id))
        origin = Origin(calling_ae=row.calling_ae, called_ae=row.called_ae)
        _judge_anew(connection, job_id, image_id, origin, Route())


def served(connection: Connection, job_id: int) -> set[str]:
    """Who has, or will have, a result of a job."""
    return _destinations(connection, output.c.job_id == job_id)


def ways(connection: Connection, output_id: int) -> set[str]:
    """Who has, or will have, an output."""
    return _destinations(connection, output.c.id == output_id)


def _have(connection: Connection, job_id: int, image: Instance) -> set[str]:
    """Who has a result of an image: one that came in two transfer syntaxes has one result, of the first job."""
    same_uid = select(job.c.id).join(instance, instance.c.id == job.c.instance_id)
    same_uid = same_uid.where(instance.c.sop_instance_uid == image.sop_instance_uid)
    return served(connection, job_id) or _destinations(connection, output.c.job_id.in_(same_uid))


def _destinations(connection: Connection, where: ColumnElement[bool]) -> set[str]:
    statement = select(delivery.c.destination).join(output, output.c.id == delivery.c.output_id)
    return set(connection.scalars(statement.where(where)))


def _judge_anew(connection: Connection, job_id: int, image_id: int, origin: Origin, route: Route) -> None:
    connection.execute(update(instance).where(instance.c.id == image_id).values(**columns(origin)))
    fresh = {"state": JobState.READY, "failures": 0, "lost": 0, "reason": "", "skipped": ""}
    connection.execute(update(job).where(job.c.id == job_id).values(**fresh, **due(connection, route)))
    journal(connection, image_id, "judged anew", f"as sent by {origin.calling_ae or 'somebody'}")
