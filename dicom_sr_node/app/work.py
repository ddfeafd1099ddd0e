"""One worker: images from the queue, through the generator, into the outbox."""

from __future__ import annotations

from threading import Event

from dicom_sr_node.app import roles
from dicom_sr_node.config.settings import Settings
from dicom_sr_node.work.supervisor import Worker


def work(settings: Settings, stop: Event, patience_s: float = 0.0) -> None:
    """Raises NodeError when its model cannot be loaded."""
    lock = roles.lock_for(settings, "work", patience_s)
    with roles.running(settings, lock, f"model {settings.model.name}, {roles.NOT_LOADED}") as role:
        worker = Worker(settings, role)
        worker.run(stop, on_ready=lambda note: role.store.processes.announce(role.name, roles.here(note)))
