"""Received images: the row that makes them safe, and their journal."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, insert, select

from dicom_sr_node.errors import NotFound
from dicom_sr_node.records import Identity, Instance, Stored
from dicom_sr_node.store.engine import now, reading
from dicom_sr_node.store.leases import NEW
from dicom_sr_node.store.tables import event, instance, job


def journal(connection: Connection, instance_id: int, what: str, text: str = "") -> None:
    """Add one line to the journal of an image."""
    values = {"instance_id": instance_id, "what": what, "text": text, "at": now(connection.engine)}
    connection.execute(insert(event).values(**values))


class Instances:
    """The table `instance`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def receive(self, identity: Identity, stored: Stored, *, transfer_syntax_uid: str, calling_ae: str) -> int | None:
        """Commit an image and its job in one transaction; returns its id.

        None: the same bytes under the same UID are already here, and `stored` is not needed. The same UID with other
        content is another image and is kept beside the first.
        """
        clock = now(self._engine)
        with self._engine.begin() as connection:
            same_uid = connection.execute(
                select(instance.c.id, instance.c.sha256).where(instance.c.sop_instance_uid == identity.sop_instance_uid)
            ).all()
            known = next((row.id for row in same_uid if row.sha256 == stored.sha256), None)
            if known is not None:
                journal(connection, known, "received again", f"from {calling_ae}")
                return None
            row: dict[str, Any] = {
                **vars(identity),
                "transfer_syntax_uid": transfer_syntax_uid,
                "calling_ae": calling_ae,
            }
            row |= {"file": stored.name, "sha256": stored.sha256, "bytes": stored.bytes, "received_at": clock}
            new_id: int = connection.execute(insert(instance).values(**row).returning(instance.c.id)).scalar_one()
            connection.execute(insert(job).values(instance_id=new_id, run_at=clock, updated_at=clock, **NEW))
            journal(connection, new_id, "received", f"{stored.bytes} bytes from {calling_ae}")
            for row_before in same_uid:
                journal(connection, new_id, "uid conflict", f"image {row_before.id} has the same SOP Instance UID")
        return new_id

    def get(self, instance_id: int) -> Instance:
        """One image. Raises NotFound."""
        with reading(self._engine) as connection:
            row = connection.execute(select(instance).where(instance.c.id == instance_id)).mappings().one_or_none()
        if row is None:
            raise NotFound(f"no image {instance_id}")
        return Instance(**row)

    def files(self) -> set[str]:
        """The spool files that rows refer to."""
        with reading(self._engine) as connection:
            return set(connection.scalars(select(instance.c.file)))

    def events(self, instance_id: int) -> list[dict[str, Any]]:
        """The journal of an image, oldest first."""
        with reading(self._engine) as connection:
            rows = connection.execute(
                select(event.c.at, event.c.what, event.c.text)
                .where(event.c.instance_id == instance_id)
                .order_by(event.c.id)
            )
            return [dict(row) for row in rows.mappings()]
