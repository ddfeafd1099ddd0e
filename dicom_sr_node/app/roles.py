"""What all roles have in common: their lock, a database of the right schema, a heartbeat, lines in the audit trail."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from dicom_sr_node.audit.messages import AuditMessages
from dicom_sr_node.config.settings import Settings
from dicom_sr_node.dicom.validation import relax_validation
from dicom_sr_node.role import RoleContext
from dicom_sr_node.runtime import failpoints, locks, timers
from dicom_sr_node.spool import Spool
from dicom_sr_node.store import engine as database
from dicom_sr_node.store.database import open_store
from dicom_sr_node.store.processes import HEARTBEAT_S

NOT_LOADED = "not yet loaded"  # what a worker says of its model at first


@contextmanager
def running(settings: Settings, lock: locks.ProcessLock, note: str) -> Iterator[RoleContext]:
    """A role at work; its start and stop stand in the audit trail. Raises NodeError."""
    failpoints.arm()
    relax_validation()
    store = open_store(settings.node, settings.database)
    database.upgrade(store.engine)
    audit = audit_messages(settings)
    name = f"{locks.node_id(settings.node.data_dir)}/{lock.name}"  # a container's host name is another at each start
    store.processes.announce(name, here(note))
    store.audit.add(audit.started(lock.name))
    heartbeat = timers.running({"heartbeat": (HEARTBEAT_S, lambda: store.processes.heartbeat(name))})
    try:
        yield RoleContext(store, Spool(settings.node.spool, name.replace("/", "-")), name)
    finally:
        heartbeat.shutdown(wait=True)
        store.audit.add(audit.stopped(lock.name))
        store.processes.leave(name)


def lock_for(settings: Settings, role: str, patience_s: float = 0.0) -> locks.ProcessLock:
    """Several nodes and receivers serve one database only if it is PostgreSQL; with SQLite that is a mistake."""
    if role in ("serve", "receive") and not settings.database.is_served:
        return locks.take(settings.node.data_dir, role, patience_s)
    return locks.take_any(settings.node.data_dir, role)


def audit_messages(settings: Settings) -> AuditMessages:
    """The audit trail's words for this node."""
    return AuditMessages(settings.node.ae_title, enabled=settings.audit.enabled)


def here(note: str) -> str:
    """What a process says of itself, and on which machine."""
    return f"{note} ({socket.gethostname()})"
