"""Everything that leaves: results, requests and reports of storage commitment, the audit trail, alarms."""

from __future__ import annotations

from functools import partial
from threading import Event

from dicom_sr_node.app import roles
from dicom_sr_node.audit.forwarder import AuditForwarder, forward_one
from dicom_sr_node.commitment.policy import CommitmentPolicy
from dicom_sr_node.commitment.scu import CommitmentReporter
from dicom_sr_node.config.settings import Settings
from dicom_sr_node.deliver.destinations.table import destination, local_entity
from dicom_sr_node.deliver.worker import DeliveryTerms, DestinationWorker
from dicom_sr_node.domain.errors import NotFound
from dicom_sr_node.monitor import alarms, health
from dicom_sr_node.role import RoleContext
from dicom_sr_node.runtime import log, loop, timers


def deliver(settings: Settings, stop: Event, patience_s: float = 0.0) -> None:
    """Until `stop` is set. Raises AlreadyRunning, NodeError."""
    lock = roles.lock_for(settings, "deliver", patience_s)
    with roles.running(settings, lock, ", ".join(settings.ways_out) or "to the folder") as role:
        store, known = role.store, settings.destinations
        entity = local_entity(settings)
        policy = CommitmentPolicy(store.inbound_requests, store.instances, role.spool)
        reporter = CommitmentReporter(
            entity, settings.peers, policy, store.destinations, role.name, settings.retention.undelivered_s
        )
        forwarder = AuditForwarder(settings.audit, entity, settings.node.data_dir)
        for table in (store.deliveries, store.inbound_requests, store.audit):
            table.release(role.name)
        log.get("deliver").info("delivering", extra={"slot": role.name})
        watch = partial(alarms.watch, settings, store.alarms, lambda: health.examine(settings, store).problems)
        ticks = timers.running({"alarms": (alarms.EVERY_S, watch)})
        loop.poll_all_forever(
            {
                **{name: partial(destination_worker(settings, role, name).step, stop) for name in known},
                "strays": lambda: any(
                    destination_worker(settings, role, name).step(stop) for name in store.deliveries.strays(known)
                ),
                "reports": reporter.report,
                "audit": lambda: forward_one(store.audit, forwarder, role.name),
            },
            stop,
            settings.delivery.poll_s,
        )
        ticks.shutdown(wait=True)


def destination_worker(settings: Settings, role: RoleContext, name: str) -> DestinationWorker:
    """What sends to one destination, also to one that the configuration does not have any more."""
    try:
        way = destination(settings, name)
    except NotFound:
        way = None
    terms = DeliveryTerms(settings.delivery, settings.retention.undelivered_s, roles.audit_messages(settings))
    return DestinationWorker(role, name, way, terms)
