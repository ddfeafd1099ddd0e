"""The journal of an image: what happened to it, a line each."""

from __future__ import annotations

from sqlalchemy import Connection, insert

from dicom_sr_node.store.engine import now
from dicom_sr_node.store.leases import storable
from dicom_sr_node.store.tables import event


def journal(connection: Connection, instance_id: int, what: str, text: str = "") -> None:
    """Add one line."""
    values = {"instance_id": instance_id, "what": what, "text": storable(text), "at": now(connection.engine)}
    connection.execute(insert(event).values(**values))
