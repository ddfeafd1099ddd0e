"""Received images: the row that makes them safe, their journal, and their end long after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydicom.uid import UID
from sqlalchemy import Engine, exists, func, insert, select, update
from sqlalchemy.sql.elements import ColumnElement

from dicom_sr_node.domain.errors import NotFound
from dicom_sr_node.domain.records import Identity, Instance, JobState, Origin, Route, Stored
from dicom_sr_node.store import arrivals, audit_queue
from dicom_sr_node.store.engine import again_if_beaten, now, reading
from dicom_sr_node.store.journal import journal
from dicom_sr_node.store.leases import NEW
from dicom_sr_node.store.tables import delivery, event, instance, job, output


class Instances:
    """The table `instance`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @again_if_beaten
    def receive(
        self,
        identity: Identity,
        stored: Stored,
        *,
        transfer_syntax_uid: str,
        origin: Origin,
        route: Callable[[Origin], Route] = lambda origin: Route(),
        message: str = "",
    ) -> int | None:
        """Commit an image, its job and its audit message in one transaction; returns its id.

        None: the same bytes under the same UID are already here, and `stored` is not needed; what the rules say to them
        now is done. The same UID with other content is another image and is kept beside the first.
        """
        row: dict[str, Any] = {
            **vars(identity),
            "transfer_syntax_uid": transfer_syntax_uid,
            **arrivals.columns(origin),
            "file": stored.name,
            "sha256": stored.sha256,
            "bytes": stored.bytes,
            "received_at": now(self._engine),
        }
        with self._engine.begin() as connection:
            audit_queue.enqueue(connection, message)
            same_uid = connection.execute(
                select(instance.c.id, instance.c.sha256).where(instance.c.sop_instance_uid == row["sop_instance_uid"])
            ).all()
            known = next((other for other in same_uid if other.sha256 == row["sha256"]), None)
            if known is not None:
                return arrivals.again(connection, known.id, stored.name, origin, route)
            new_id: int = connection.execute(insert(instance).values(**row).returning(instance.c.id)).scalar_one()
            connection.execute(insert(job).values(instance_id=new_id, **NEW, **arrivals.due(connection, route(origin))))
            syntax = UID(transfer_syntax_uid).name
            note = f"{row['bytes']} bytes from {row['calling_ae']} calling {row['called_ae'] or 'us'}, {syntax}"
            journal(connection, new_id, "received", note)
            for before in same_uid:
                journal(connection, new_id, "uid conflict", f"image {before.id} has the same SOP Instance UID")
            return new_id

    def get(self, instance_id: int) -> Instance:
        """One image. Raises NotFound."""
        with reading(self._engine) as connection:
            row = connection.execute(select(instance).where(instance.c.id == instance_id)).mappings().one_or_none()
        if row is None:
            raise NotFound(f"no image {instance_id}")
        return Instance(**row)

    def of_output(self, output_id: int) -> Instance:
        """The image that an output was made of."""
        statement = select(instance).join(job, job.c.instance_id == instance.c.id)
        statement = statement.join(output, output.c.job_id == job.c.id).where(output.c.id == output_id)
        with reading(self._engine) as connection:
            return Instance(**connection.execute(statement).mappings().one())

    def of_uid(self, sop_instance_uid: str) -> list[Instance]:
        """All images that came under this UID."""
        statement = select(instance).where(instance.c.sop_instance_uid == sop_instance_uid).order_by(instance.c.id)
        with reading(self._engine) as connection:
            return [Instance(**row) for row in connection.execute(statement).mappings()]

    def in_series(self, series_uid: str) -> int:
        """How many images of a series have come."""
        counted = select(func.count(func.distinct(instance.c.sop_instance_uid))).where(
            instance.c.series_uid == series_uid
        )
        with reading(self._engine) as connection:
            return connection.scalar(counted) or 0

    def files(self, *, purged: bool = False) -> set[str]:
        """The spool files that rows refer to; or those of rows whose files are to be gone."""
        where = instance.c.purged_at > 0 if purged else instance.c.purged_at == 0
        with reading(self._engine) as connection:
            return set(connection.scalars(select(instance.c.file).where(where)))

    def events(self, instance_id: int) -> list[dict[str, Any]]:
        """The journal of an image, oldest first."""
        with reading(self._engine) as connection:
            rows = connection.execute(
                select(event.c.at, event.c.what, event.c.text)
                .where(event.c.instance_id == instance_id)
                .order_by(event.c.id)
            )
            return [dict(row) for row in rows.mappings()]

    def conflicts(self) -> list[str]:
        """The SOP Instance UIDs under which images of different content came."""
        statement = select(instance.c.sop_instance_uid).group_by(instance.c.sop_instance_uid)
        with reading(self._engine) as connection:
            return list(connection.scalars(statement.having(func.count() > 1)))

    def hold(self, instance_id: int, held: bool, who: str = "by hand") -> None:
        """Keep an image for ever, or no longer."""
        with self._engine.begin() as connection:
            connection.execute(update(instance).where(instance.c.id == instance_id).values(held=held))
            journal(connection, instance_id, "held" if held else "no longer held", who)

    def purge(self, *, done_s: float, skipped_s: float, most: int = 100) -> list[tuple[str, list[str]]]:
        """Mark what may go as purged, oldest first; returns the names of its source and of its results.

        What may go: done, delivered everywhere and committed to where that is awaited, or skipped; not held by hand;
        and older than its retention. What is dead waits for a decision.
        """
        clock = now(self._engine)
        on_its_way = exists().where(
            output.c.job_id == job.c.id, delivery.c.output_id == output.c.id, delivery.c.state != JobState.DONE
        )
        old: ColumnElement[bool] = (
            (job.c.state == JobState.DONE)
            & (instance.c.received_at < clock - done_s)
            & (job.c.updated_at < clock - done_s)
        ) | (
            (job.c.state == JobState.SKIPPED)
            & (instance.c.received_at < clock - skipped_s)
            & (job.c.updated_at < clock - skipped_s)
        )
        may_go = (
            select(instance.c.id, instance.c.file, job.c.id.label("job_id"))
            .join(job, job.c.instance_id == instance.c.id)
            .where(instance.c.purged_at == 0, ~instance.c.held, old, ~on_its_way)
            .order_by(instance.c.received_at)
            .limit(most)
            .with_for_update(skip_locked=True)
        )
        gone: list[tuple[str, list[str]]] = []
        with self._engine.begin() as connection:
            for row in connection.execute(may_go).all():
                connection.execute(update(instance).where(instance.c.id == row.id).values(purged_at=clock))
                journal(connection, row.id, "purged")
                results = update(output).where(output.c.job_id == row.job_id).values(purged_at=clock)
                gone.append((row.file, list(connection.scalars(results.returning(output.c.file)))))
        return gone
