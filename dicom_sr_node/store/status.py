"""The status of an image, as conditions on rows and as read from a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import and_, exists, or_
from sqlalchemy.sql.elements import ColumnElement

from dicom_sr_node.domain.image_status import ImageStatus, image_status
from dicom_sr_node.domain.records import JobState
from dicom_sr_node.store.tables import delivery, job, output


def delivery_where(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether a job has a delivery like that."""
    return exists().where(output.c.job_id == job.c.id, delivery.c.output_id == output.c.id, *conditions)


DEAD_DELIVERY = delivery_where(delivery.c.state == JobState.DEAD)
OPEN_DELIVERY = delivery_where(delivery.c.state.in_((JobState.READY, JobState.RUNNING, JobState.SENT)))
IS_STATUS: Mapping[ImageStatus, ColumnElement[bool]] = {
    ImageStatus.WAITING: job.c.state == JobState.READY,
    ImageStatus.WORKING: job.c.state == JobState.RUNNING,
    ImageStatus.ON_ITS_WAY: and_(job.c.state == JobState.DONE, OPEN_DELIVERY),
    # Most are delivered: an expression, or SQLite would look at all of them by index before it takes the newest.
    ImageStatus.DELIVERED: and_(job.c.state + "" == JobState.DONE, ~OPEN_DELIVERY, ~DEAD_DELIVERY),
    ImageStatus.SKIPPED: job.c.state == JobState.SKIPPED,
    ImageStatus.DEAD: or_(job.c.state == JobState.DEAD, DEAD_DELIVERY),
}


def status_of(row: Mapping[Any, Any]) -> ImageStatus:
    """Of a row with state, dead_deliveries and open_deliveries."""
    return image_status(
        JobState(row["state"]),
        dead_deliveries=bool(row["dead_deliveries"]),
        open_deliveries=bool(row["open_deliveries"]),
    )
