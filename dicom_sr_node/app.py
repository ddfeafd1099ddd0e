"""The one place where things are built and joined. Each role is one function that runs until `stop` is set."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from sqlalchemy import Engine

from dicom_sr_node import locks, schedule, tolerance
from dicom_sr_node.settings import Settings
from dicom_sr_node.spool import Spool
from dicom_sr_node.store import engine as database
from dicom_sr_node.store.instances import Instances
from dicom_sr_node.store.jobs import Jobs
from dicom_sr_node.store.outputs import Deliveries, Outputs
from dicom_sr_node.store.slots import Slots


@dataclass(frozen=True)
class Store:
    """The tables of one database."""

    engine: Engine
    instances: Instances
    jobs: Jobs
    outputs: Outputs
    deliveries: Deliveries
    slots: Slots


def store(settings: Settings, *, must_exist: bool = False) -> Store:
    """Connect. Raises NotFound if the database `must_exist` and does not."""
    engine = database.connect(settings, must_exist=must_exist)
    return Store(engine, Instances(engine), Jobs(engine), Outputs(engine), Deliveries(engine), Slots(engine))


@contextmanager
def _role(settings: Settings, slot: locks.Slot, note: str) -> Iterator[tuple[Store, Spool, str]]:
    """What every role needs: a database of the right schema, its corner of the spool, and a heartbeat."""
    tolerance.accept_faults_of_others()
    tables = store(settings)
    database.upgrade(tables.engine)
    name = f"{socket.gethostname()}/{slot.name}"
    tables.slots.announce(name, note)
    timers = schedule.heartbeat(tables.slots, name)
    try:
        yield tables, Spool(settings.node.data_dir, slot.name), name
    finally:
        timers.shutdown(wait=True)
        tables.slots.leave(name)


def receive(settings: Settings, stop: Event) -> None:
    """The receiver. Raises AlreadyRunning, NodeError."""
    from dicom_sr_node.receive.scp import Receiver

    slot = locks.take(settings.node.data_dir, "receive")
    note = f"{settings.node.ae_title} on {settings.scp.host}:{settings.scp.port}"
    with _role(settings, slot, note) as (tables, spool, _):
        receiver = Receiver(settings, spool, tables.instances)
        receiver.start()
        timers = schedule.maintenance(spool, tables.outputs)
        stop.wait()
        timers.shutdown(wait=True)
        receiver.stop()


def work(settings: Settings, stop: Event) -> None:
    """One worker. Raises NodeError when its model cannot be loaded."""
    from dicom_sr_node.worker import Worker

    slot = locks.take_any(settings.node.data_dir, "work")
    with _role(settings, slot, f"model {settings.model.name}, not yet loaded") as (tables, spool, name):
        worker = Worker(settings, spool, tables.instances, tables.jobs, name, spool_slot=slot.name)
        worker.run(stop, on_ready=lambda note: tables.slots.announce(name, note))


def deliver(settings: Settings, stop: Event) -> None:
    """One sender."""
    from dicom_sr_node.deliver.sender import Sender

    slot = locks.take_any(settings.node.data_dir, "deliver")
    with _role(settings, slot, ", ".join(settings.peers) or "to the folder") as (tables, spool, name):
        Sender(settings, spool, tables.outputs, tables.deliveries, name).run(stop)


ROLES = {"receive": receive, "work": work, "deliver": deliver}


def serve(settings: Settings, config: Path | None, stop: Event) -> int:
    """All roles, each a process of its own that is started again when it dies; returns the exit code."""
    from dicom_sr_node.serve import Supervisor

    locks.take(settings.node.data_dir, "serve")
    database.upgrade(store(settings).engine)
    return Supervisor(list(ROLES), config).run(stop)
