"""The one place where things are built and joined. Each role is one function that runs until `stop` is set."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from dicom_sr_node import alarms, audit, condition, failpoints, locks, log, schedule, steps, tolerance
from dicom_sr_node.errors import NodeError
from dicom_sr_node.settings import Settings
from dicom_sr_node.spool import Spool
from dicom_sr_node.store import engine as database
from dicom_sr_node.store.accounts import Accounts
from dicom_sr_node.store.alarms import Alarms
from dicom_sr_node.store.audit import AuditTrail
from dicom_sr_node.store.commitments import AskedOfUs, Commitments
from dicom_sr_node.store.destinations import Destinations
from dicom_sr_node.store.instances import Instances
from dicom_sr_node.store.jobs import Jobs
from dicom_sr_node.store.outputs import Deliveries, Outputs
from dicom_sr_node.store.refused import Refused
from dicom_sr_node.store.search import Search
from dicom_sr_node.store.service import Service
from dicom_sr_node.store.slots import Slots

if TYPE_CHECKING:
    from dicom_sr_node.deliver.sender import Lane
    from dicom_sr_node.receive.scp import Receiver
    from dicom_sr_node.receive.watched import Watched

_WATCH_S = 2.0  # between two looks into the watched folder
NOT_LOADED = "not yet loaded"  # what a worker says of its model at first
_LOOK_S = 0.5  # how often a receiver looks for another configuration


@dataclass(frozen=True)
class Store:
    """The tables of one database."""

    engine: Engine
    instances: Instances
    jobs: Jobs
    outputs: Outputs
    deliveries: Deliveries
    destinations: Destinations
    commitments: Commitments
    asked: AskedOfUs
    refused: Refused
    audit: AuditTrail
    slots: Slots
    service: Service
    accounts: Accounts
    search: Search
    alarms: Alarms


def store(settings: Settings, *, must_exist: bool = False) -> Store:
    """Connect. Raises NotFound if the database `must_exist` and does not, NodeError for somebody else's data."""
    locks.ensure_ours(settings.node.data_dir)
    engine = database.connect(settings, must_exist=must_exist)
    return Store(
        engine,
        Instances(engine),
        Jobs(engine),
        Outputs(engine),
        Deliveries(engine),
        Destinations(engine),
        Commitments(engine),
        AskedOfUs(engine),
        Refused(engine),
        AuditTrail(engine),
        Slots(engine),
        Service(engine),
        Accounts(engine),
        Search(engine),
        Alarms(engine),
    )


@dataclass(frozen=True)
class Corner:
    """What a role has for itself: the tables, its corner of the spool, and the name it is known by everywhere."""

    store: Store
    spool: Spool
    name: str


@contextmanager
def _role(settings: Settings, slot: locks.Slot, note: str) -> Iterator[Corner]:
    """A database of the right schema, a corner of the spool, and a heartbeat; start and stop stand in the trail."""
    failpoints.arm()
    tolerance.accept_faults_of_others()
    tables = store(settings)
    database.upgrade(tables.engine)
    name = f"{locks.node_id(settings.node.data_dir)}/{slot.name}"  # a container's host name is another at each start
    tables.slots.announce(name, _here(note))
    tables.audit.add(audit.started(settings, slot.name))
    timers = schedule.heartbeat(tables.slots, name)
    try:
        yield Corner(tables, Spool(settings.node.spool, name.replace("/", "-")), name)
    finally:
        timers.shutdown(wait=True)
        tables.audit.add(audit.stopped(settings, slot.name))
        tables.slots.leave(name)


def _here(note: str) -> str:
    return f"{note} ({socket.gethostname()})"


def _slot(settings: Settings, role: str, patience_s: float = 0.0) -> locks.Slot:
    """Several nodes and receivers serve one database only if it is PostgreSQL; with SQLite that is a mistake."""
    if role in ("serve", "receive") and not settings.database.is_served:
        return locks.take(settings.node.data_dir, role, patience_s)
    return locks.take_any(settings.node.data_dir, role)


def receive(
    settings: Settings, stop: Event, patience_s: float = 0.0, fresh: Callable[[], Settings | None] = lambda: None
) -> None:
    """The receiver. fresh: another configuration, when there is one. Raises AlreadyRunning, NodeError."""
    slot = _slot(settings, "receive", patience_s)
    note = f"{settings.node.ae_title} on {settings.scp.host}:{settings.scp.port}"
    with _role(settings, slot, note) as mine:
        tables = mine.store
        tables.asked.release(mine.name)
        receiver, retired = _receiver(settings, mine), list["Receiver"]()
        receiver.start()
        folder = _watched(settings, mine)
        timers = schedule.running(
            {
                "sweep": (schedule.SWEEP_EVERY_S, lambda: schedule.sweep_outbox(mine.spool, tables.outputs)),
                "adopt": (schedule.SWEEP_EVERY_S, lambda: receiver.adopt(schedule.ORPHAN_AGE_S)),
                "purge": (
                    schedule.SWEEP_EVERY_S,
                    lambda: schedule.purge(mine.spool, tables.instances, settings.retention),
                ),
                "watch": (_WATCH_S, lambda: folder.look(receiver.commit) if folder else 0),
                "refusals": (schedule.REFUSALS_EVERY_S, receiver.write_down_refusals),
            }
        )
        while not stop.wait(_LOOK_S):
            retired = [one for one in retired if one.is_busy]
            if changed := fresh():
                try:
                    following = _receiver(changed, mine)
                    following.start(before=receiver)
                except NodeError as error:
                    log.get("receive").error("the new configuration cannot be used", extra={"why": error})
                    continue
                retired.append(receiver)
                receiver, settings, folder = following, changed, _watched(changed, mine)
        timers.shutdown(wait=True)
        for one in (receiver, *retired):
            one.stop()


def _watched(settings: Settings, mine: Corner) -> Watched | None:
    from dicom_sr_node.receive.watched import Watched

    folder, most_bytes = settings.watch.folder, settings.scp.max_object_mb << 20
    return Watched(folder, mine.spool, most_bytes, settings.disk.reserve_mb) if folder else None


def _receiver(settings: Settings, mine: Corner) -> Receiver:
    from dicom_sr_node.receive.commitment import CommitmentScp
    from dicom_sr_node.receive.scp import Receiver

    tables = mine.store
    arguments = (settings.peers, mine.spool, tables.instances, tables.asked, tables.commitments, mine.name)
    return Receiver(settings, mine.spool, tables.instances, tables.refused, CommitmentScp(*arguments))


def work(settings: Settings, stop: Event, patience_s: float = 0.0) -> None:
    """One worker. Raises NodeError when its model cannot be loaded."""
    from dicom_sr_node.worker import Worker

    slot = _slot(settings, "work", patience_s)
    with _role(settings, slot, f"model {settings.model.name}, {NOT_LOADED}") as mine:
        worker = Worker(settings, mine.spool, mine.store.instances, mine.store.jobs, mine.store.service, mine.name)
        worker.run(stop, on_ready=lambda note: mine.store.slots.announce(mine.name, _here(note)))


def deliver(settings: Settings, stop: Event, patience_s: float = 0.0) -> None:
    """Everything that leaves: results, requests and reports of storage commitment, the audit trail."""
    from dicom_sr_node.deliver.commitment import Reporter
    from dicom_sr_node.deliver.trail import Trail, pass_on

    slot = _slot(settings, "deliver", patience_s)
    with _role(settings, slot, ", ".join(settings.destinations[:-1]) or "to the folder") as mine:
        tables = mine.store
        known = settings.destinations
        ways = {name: partial(lane(settings, mine, name).step, stop) for name in known}
        reporter = Reporter(settings, mine.spool, tables.instances, tables.asked, mine.name)
        trail = Trail(settings)
        for held in (tables.deliveries, tables.asked, tables.audit):
            held.release(mine.name)
        log.get("deliver").info("delivering", extra={"slot": mine.name})
        timers = schedule.running(
            {
                "alarms": (
                    alarms.EVERY_S,
                    lambda: alarms.watch(settings, tables.alarms, lambda: condition.look(settings, tables).troubles),
                )
            }
        )
        steps.repeat_all(
            {
                **ways,
                "strays": lambda: any(lane(settings, mine, n).step(stop) for n in tables.deliveries.strays(known)),
                "reports": reporter.report,
                "audit": lambda: pass_on(tables.audit, trail, mine.name),
            },
            stop,
            settings.delivery.poll_s,
        )
        timers.shutdown(wait=True)


def web(settings: Settings, stop: Event, patience_s: float = 0.0) -> None:
    """The dashboard, the REST interface and what monitoring asks. Raises NodeError."""
    from dicom_sr_node.web.desk import Desk
    from dicom_sr_node.web.lightbox import Lightbox
    from dicom_sr_node.web.serving import serve as serve_web

    slot = _slot(settings, "web", patience_s)
    with _role(settings, slot, f"dashboard on {settings.web.url}") as mine:
        mine.spool.sweep()
        serve_web(Desk(settings, mine.store, mine.spool, Lightbox()), stop)


def lane(settings: Settings, mine: Corner, destination: str) -> Lane:
    """What sends to one destination."""
    from dicom_sr_node.deliver.sender import Lane

    return Lane(
        settings,
        mine.spool,
        mine.name,
        destination,
        instances=mine.store.instances,
        outputs=mine.store.outputs,
        deliveries=mine.store.deliveries,
        destinations=mine.store.destinations,
        commitments=mine.store.commitments,
    )


def roles(settings: Settings) -> list[str]:
    """What `srnode serve` starts."""
    return ["receive", "work", "deliver", *(["web"] if settings.web.enabled else [])]


def serve(settings: Settings, config: Path | None, stop: Event, fresh: Callable[[], Settings | None]) -> int:
    """All roles, each a process of its own that is started again when it dies; returns the exit code."""
    from dicom_sr_node.serve import Supervisor

    failpoints.arm()
    _slot(settings, "serve")
    tables = store(settings)
    database.upgrade(tables.engine)

    def changed() -> list[str] | None:
        """The roles of another configuration, when there is one that needs no new start of everything."""
        nonlocal settings
        new = fresh()
        if new is None:
            return None
        if (new.node.data_dir, new.node.spool, new.database) != (
            settings.node.data_dir,
            settings.node.spool,
            settings.database,
        ):
            log.get("serve").error("node.data_dir, node.spool_dir and database.url change with a restart only")
            return None
        settings = new
        return roles(new)

    def alive() -> set[int]:
        """Our processes that have begun their work."""
        mine = f"{locks.node_id(settings.node.data_dir)}/"
        try:
            slots = [slot for slot in tables.slots.ls() if slot["name"].startswith(mine)]
        except SQLAlchemyError:
            return set()
        return {slot["pid"] for slot in slots if NOT_LOADED not in slot["note"]}

    return Supervisor(roles(settings), config, changed, alive).run(stop)
