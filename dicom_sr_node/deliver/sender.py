"""The delivery role: one lane for each destination, so that what one of them does never holds up another.

A lane claims deliveries, sends the stored bytes, and asks for storage commitment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Event

from pynetdicom import Association

from dicom_sr_node import audit, failpoints, log
from dicom_sr_node.deliver import dimse, folder
from dicom_sr_node.deliver.commitment import Asker
from dicom_sr_node.errors import DeliveryError, Fenced, NodeError, PeerBusy, PeerDoubts, PeerRefused, PeerUnreachable
from dicom_sr_node.records import FOLDER, Delivery
from dicom_sr_node.settings import Peer, Settings
from dicom_sr_node.spool import Spool
from dicom_sr_node.store.commitments import Commitments
from dicom_sr_node.store.destinations import Destinations, backoff
from dicom_sr_node.store.instances import Instances
from dicom_sr_node.store.outputs import Deliveries, Outputs

_log = log.get("deliver")

TRIES_OF_A_DOUBTFUL_OBJECT = 3  # 0110, 0210, Cxxx: some archives answer them while their database is away

Send = Callable[[Delivery], str]


class Lane:
    """Everything that goes to one destination."""

    def __init__(
        self,
        settings: Settings,
        spool: Spool,
        slot: str,
        destination: str,
        *,
        instances: Instances,
        outputs: Outputs,
        deliveries: Deliveries,
        destinations: Destinations,
        commitments: Commitments,
    ) -> None:
        self._settings, self._spool, self._slot, self._name = settings, spool, slot, destination
        self._instances, self._outputs, self._deliveries = instances, outputs, deliveries
        self._destinations = destinations
        self._peer: Peer | None = settings.peers.get(destination)
        wanted = self._peer is not None and self._peer.commitment != "off"
        self._asker = Asker(settings, destination, self._peer, commitments) if self._peer and wanted else None
        self._lease_s = settings.delivery.exchange_s

    def step(self, stop: Event) -> bool:
        """Send all that is due, then ask for commitment; False if there was nothing to do."""
        held = self._deliveries.claim(self._slot, self._lease_s, self._name)
        if held is not None:
            failpoints.hit("deliver.claimed")
            self._send_all(held, stop)
        asked = self._asker is not None and not self._destinations.rests(self._name) and self._asker.ask()
        return held is not None or asked

    def _send_all(self, first: Delivery, stop: Event) -> None:
        """Everything that is due, over one association."""
        held: Delivery | None = first
        try:
            with self._open() as (send, assoc):
                while held is not None:
                    self._send_one(held, send, assoc)
                    usable = not stop.is_set() and (assoc is None or assoc.is_established)
                    held = self._deliveries.claim(self._slot, self._lease_s, self._name) if usable else None
        except (NodeError, OSError) as error:
            if held is not None:
                self._settle(held, error if isinstance(error, NodeError) else PeerBusy(_unreadable(error)))

    @contextmanager
    def _open(self) -> Iterator[tuple[Send, Association | None]]:
        """How to send to this destination. Raises DeliveryError."""
        if self._name == FOLDER:
            out = self._settings.node.data_dir / "out"
            yield (lambda held: folder.send(self._outputs.get(held.output_id), self._file(held), out)), None
            return
        place = self._settings.dicomweb.get(self._name)
        if place is not None:
            # Imported here: its client takes a third of a second, and most nodes have no use for it.
            from dicom_sr_node.deliver import stow

            with stow.client(self._settings, place) as sender:
                yield (lambda held: stow.send(sender, self._file(held), place)), None
            return
        peer = self._peer
        if peer is None:
            raise PeerRefused(f"no peer {self._name!r} in the configuration any more; put it back and retry")
        way: AbstractContextManager[Association] = dimse.association(self._settings, peer, dimse.offered(peer))
        with way as assoc:
            yield (lambda held: dimse.send(assoc, self._file(held), peer)), assoc

    def _send_one(self, held: Delivery, send: Send, assoc: Association | None) -> None:
        """Raises what `_settle` turns into the delivery's fate."""
        note = send(held)
        failpoints.hit("deliver.sent")
        self._destinations.succeeded(self._name)
        try:
            message = ""
            if self._name != FOLDER and self._settings.audit.to != "off":
                source = self._instances.of_output(held.output_id)
                message = audit.sent(self._settings, self._outputs.get(held.output_id), source, *self._address())
            if self._awaits_commitment(assoc):
                self._deliveries.sent(held, note, message)
            else:
                self._deliveries.done(held, note, message)
        except Fenced as error:
            _log.warning("fenced", extra={"why": error})
            return
        failpoints.hit("deliver.committed")
        level = _log.warning if note else _log.info
        level("delivered", extra={"delivery": held.id, "to": self._name, "note": note or "-"})

    def _address(self) -> tuple[str, str]:
        """How the audit trail names the destination, and where it is."""
        if self._peer is not None:
            return self._peer.ae_title, self._peer.host
        return self._name, self._settings.dicomweb[self._name].url

    def _awaits_commitment(self, assoc: Association | None) -> bool:
        """Where commitment is optional, a peer that does not offer it has said all that it will say."""
        if self._peer is None or self._peer.commitment == "off" or assoc is None:
            return False
        return self._peer.commitment == "required" or dimse.commits(assoc)

    def _file(self, held: Delivery) -> Path:
        return self._spool.path("outbox", self._outputs.get(held.output_id).file)

    def _settle(self, held: Delivery, error: NodeError) -> None:
        """A failed try: later again, or never."""
        limits = self._settings.delivery
        told = error.told if isinstance(error, DeliveryError) else str(error)  # without the peer's words: see errors
        try:
            if not self._is_worth_another_try(held, error):
                self._deliveries.dead(held, str(error))
                _log.error("delivery dead", extra={"delivery": held.id, "to": self._name, "why": told})
                return
            pause_s = backoff(held.failures, limits.retry_first_s, limits.retry_max_s)
            if isinstance(error, PeerUnreachable | PeerBusy) and not isinstance(error, PeerDoubts):
                pause_s = self._destinations.failed(self._name, str(error), limits.retry_first_s, limits.retry_max_s)
            self._deliveries.fail(held, str(error), delay_s=pause_s)
            extra = {"delivery": held.id, "to": self._name, "why": told, "again_in_s": round(pause_s, 1)}
            _log.warning("delivery failed", extra=extra)
        except Fenced as fenced:
            _log.warning("fenced", extra={"why": fenced})

    def _is_worth_another_try(self, held: Delivery, error: NodeError) -> bool:
        if not error.retryable:
            return False
        if isinstance(error, PeerDoubts):
            return held.failures + 1 < TRIES_OF_A_DOUBTFUL_OBJECT
        return self._deliveries.age_s(held) < self._settings.retention.undelivered_s


def _unreadable(error: OSError) -> str:
    return f"the result cannot be read here: {error.strerror or type(error).__name__}"
