"""A result whose source came again under another patient, study or accession: it says something that is not so.

An archive keeps it until somebody rejects it there. What was not sent yet is not sent any more.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, select, update

from dicom_sr_node.domain.records import RESULTS, JobState, OutputKind
from dicom_sr_node.store.engine import now
from dicom_sr_node.store.journal import journal
from dicom_sr_node.store.tables import delivery, instance, job, output


class _Result(NamedTuple):
    """A derived image of a source that came more than once."""

    id: int
    job_id: int
    superseded_by: int
    source_pixels: str
    whose: str
    image_id: int
    said: str  # patient, study and accession, as far as the database knows


NOT_SENT = "not sent: its source came again, of another patient, study or accession"
SETTLED = -1  # somebody has seen to it


def note(connection: Connection, image_id: int) -> None:
    """After an image was worked on: mark what the newest arrival of the same image has made untrue."""
    sop_uid = select(instance.c.sop_instance_uid).where(instance.c.id == image_id).scalar_subquery()
    columns = (output.c.id, output.c.job_id, output.c.superseded_by, output.c.source_pixels, output.c.whose)
    said = (
        instance.c.patient_id + "|" + instance.c.patient_name + "|" + instance.c.accession + "|" + instance.c.study_uid
    )
    rows = connection.execute(
        select(*columns, instance.c.id, said)
        .join(job, job.c.id == output.c.job_id)
        .join(instance, instance.c.id == job.c.instance_id)
        .where(instance.c.sop_instance_uid == sop_uid, output.c.kind == OutputKind.IMAGE)
        .order_by(instance.c.id, output.c.id)
    ).all()
    if not rows:
        return
    results = [_Result(*row) for row in rows]
    newest = results[-1]
    for row in results:
        if row.superseded_by == 0 and row.image_id != newest.image_id and _is_of_another(row, newest):
            _supersede(connection, row, newest)


def _is_of_another(old: _Result, new: _Result) -> bool:
    """The same pixels, of somebody or something else; of results of an earlier version less is known."""
    if not old.whose:
        return old.said != new.said
    return old.source_pixels == new.source_pixels and old.whose != new.whose


def _supersede(connection: Connection, old: _Result, new: _Result) -> None:
    clock = now(connection.engine)
    of_job = (output.c.job_id == old.job_id) & output.c.kind.in_(RESULTS)
    connection.execute(update(output).where(of_job).values(superseded_by=new.id))
    waiting = delivery.c.output_id.in_(select(output.c.id).where(of_job)) & (delivery.c.state == JobState.READY)
    why = f"{NOT_SENT} (image {new.image_id})"
    connection.execute(update(delivery).where(waiting).values(state=JobState.DEAD, reason=why, updated_at=clock))
    journal(connection, old.image_id, "superseded", f"by image {new.image_id}: another patient, study or accession")
    text = f"the result of image {old.image_id}, which names another patient, study or accession"
    journal(connection, new.image_id, "supersedes", text)
