"""The receiver: C-STORE, the watched folder, and what keeps the spool tidy."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

from dicom_sr_node import retention
from dicom_sr_node.app import roles
from dicom_sr_node.commitment.policy import CommitmentPolicy
from dicom_sr_node.commitment.scp import CommitmentScp
from dicom_sr_node.config.settings import Settings
from dicom_sr_node.domain.errors import NodeError
from dicom_sr_node.network.refusals import Refusals
from dicom_sr_node.receive.scp import Receiver
from dicom_sr_node.receive.watched_folder import WatchedFolder
from dicom_sr_node.role import RoleContext
from dicom_sr_node.runtime import log, timers

_WATCH_S = 2.0  # between two looks into the watched folder
_REFUSALS_S = 2.0
_RELOAD_S = 0.5  # how often it looks for another configuration

Reload = Callable[[], Settings | None]  # another configuration, when there is one


def receive(settings: Settings, stop: Event, patience_s: float = 0.0, reload: Reload = lambda: None) -> None:
    """Raises AlreadyRunning, NodeError."""
    lock = roles.lock_for(settings, "receive", patience_s)
    note = f"{settings.node.ae_title} on {settings.scp.host}:{settings.scp.port}"
    with roles.running(settings, lock, note) as role:
        role.store.inbound_requests.release(role.name)
        receiver, retired = _receiver(settings, role), list[Receiver]()
        receiver.start()
        folder = _watched(settings, role)
        ticks = timers.running(
            {
                "sweep": (retention.SWEEP_EVERY_S, lambda: retention.sweep_outbox(role.spool, role.store.outputs)),
                "adopt": (retention.SWEEP_EVERY_S, lambda: receiver.adopt(retention.ORPHAN_AGE_S)),
                "purge": (
                    retention.SWEEP_EVERY_S,
                    lambda: retention.purge(role.spool, role.store.instances, settings.retention),
                ),
                "watch": (_WATCH_S, lambda: folder.look(receiver.commit) if folder else 0),
                "refusals": (_REFUSALS_S, lambda: receiver.write_down_refusals()),
            }
        )
        while not stop.wait(_RELOAD_S):
            retired = [old for old in retired if old.is_busy]
            if changed := reload():
                try:
                    following = _receiver(changed, role)
                    following.start(before=receiver)
                except NodeError as error:
                    log.get("receive").error("the new configuration cannot be used", extra={"why": error})
                    continue
                retired.append(receiver)
                receiver, settings, folder = following, changed, _watched(changed, role)
        ticks.shutdown(wait=True)
        for each in (receiver, *retired):
            each.stop()


def _watched(settings: Settings, role: RoleContext) -> WatchedFolder | None:
    folder, most_bytes = settings.watch.folder, settings.scp.max_object_mb << 20
    return WatchedFolder(folder, role.spool, most_bytes, settings.disk.reserve_mb) if folder else None


def _receiver(settings: Settings, role: RoleContext) -> Receiver:
    store = role.store
    policy = CommitmentPolicy(store.inbound_requests, store.instances, role.spool)
    refusals = Refusals()
    commitment = CommitmentScp(settings.peers, policy, store.commitments, role.name, refusals)
    return Receiver(settings, role, roles.audit_messages(settings), commitment, refusals)
