"""The delivery role: a worker for each destination, so that what one of them does never holds up another.

It claims deliveries, sends the stored bytes, and asks for storage commitment.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from threading import Event

from dicom_sr_node.audit.messages import AuditMessages
from dicom_sr_node.config.delivering import DeliverySettings
from dicom_sr_node.deliver.destinations.base import Connection, Destination
from dicom_sr_node.domain.errors import (
    ConfigRefused,
    DeliveryError,
    Fenced,
    NodeError,
    PeerBusy,
    PeerDoubts,
    PeerRefused,
    PeerUnreachable,
)
from dicom_sr_node.domain.records import Delivery, Output
from dicom_sr_node.role import RoleContext
from dicom_sr_node.runtime import failpoints, log
from dicom_sr_node.store import supersession

_log = log.get("deliver")

TRIES_OF_A_DOUBTFUL_OBJECT = 3  # 0110, 0210, Cxxx: some archives answer them while their database is away


@dataclass(frozen=True)
class DeliveryTerms:
    """How long, how often, and what is told of it."""

    delivery: DeliverySettings
    undelivered_s: float  # after so long a result that nobody took is dead
    audit: AuditMessages


class DestinationWorker:
    """Everything that goes to one destination."""

    def __init__(self, role: RoleContext, name: str, destination: Destination | None, terms: DeliveryTerms) -> None:
        """destination: None where the configuration does not have it any more."""
        self._role, self._name, self._destination, self._terms = role, name, destination, terms
        self._spool, self._store = role.spool, role.store
        self._scu = destination.commitment_scu(role.store.commitments) if destination else None

    def step(self, stop: Event) -> bool:
        """Send all that is due, then ask for commitment; False if there was nothing to do."""
        claim = self._claim()
        if claim is not None:
            failpoints.hit("deliver.claimed")
            self._send_all(claim, stop)
        asked = self._scu is not None and not self._store.destinations.rests(self._name) and self._scu.ask(self._rest)
        return claim is not None or asked

    def _rest(self, reason: str) -> float:
        return self._store.destinations.failed(self._name, reason, self._terms.delivery.retry)

    def _claim(self) -> Delivery | None:
        """The next one that is to be sent."""
        lease_s = self._terms.delivery.exchange_s
        while (claim := self._store.deliveries.claim(self._role.name, lease_s, self._name)) is not None:
            if claim.since or self._store.outputs.get(claim.output_id).superseded_by <= 0:
                return claim  # what somebody sends by hand is sent all the same
            self._settle(claim, PeerRefused(supersession.NOT_SENT))
        return None

    def _send_all(self, first: Delivery, stop: Event) -> None:
        """Everything that is due, over one connection."""
        claim: Delivery | None = first
        try:
            if self._destination is None:
                raise PeerRefused(f"no peer {self._name!r} in the configuration any more; put it back and retry")
            with self._destination.open() as connection:
                while claim is not None:
                    self._send_one(claim, self._destination, connection)
                    claim = self._claim() if connection.is_usable and not stop.is_set() else None
        except (NodeError, OSError) as error:
            if claim is not None:
                self._settle(claim, _failure(error))

    def _send_one(self, claim: Delivery, destination: Destination, connection: Connection) -> None:
        """Raises what `_settle` turns into the delivery's end."""
        output = self._store.outputs.get(claim.output_id)
        plain = max(claim.doubts + 1, claim.failures) >= TRIES_OF_A_DOUBTFUL_OBJECT
        warning = connection.send(output, self._file(output), plain=plain)
        failpoints.hit("deliver.sent")
        self._store.destinations.succeeded(self._name)
        try:
            message = self._audit_message(output, destination)
            if _awaits_commitment(destination, connection):
                self._store.deliveries.sent(claim, warning, message)
            else:
                self._store.deliveries.done(claim, warning, message)
        except Fenced as error:
            _log.warning("fenced", extra={"why": error})
            return
        failpoints.hit("deliver.committed")
        level = _log.warning if warning else _log.info
        note = warning.partition(" (")[0] or "-"  # without the peer's words: see errors
        level("delivered", extra={"delivery": claim.id, "to": self._name, "note": note})

    def _audit_message(self, output: Output, destination: Destination) -> str:
        address = destination.audit_address()
        if address is None:
            return ""
        return self._terms.audit.sent(output, self._store.instances.of_output(output.id), *address)

    def _file(self, output: Output) -> Path:
        return self._spool.path("outbox", output.file)

    def _settle(self, claim: Delivery, error: DeliveryError) -> None:
        """A failed try: later again, or never."""
        why, doubts = error.message, claim.doubts + isinstance(error, PeerDoubts)
        try:
            if not self._is_worth_another_try(claim, error, doubts):
                self._store.deliveries.dead(claim, str(error))
                _log.error("delivery dead", extra={"delivery": claim.id, "to": self._name, "why": why})
                return
            is_its_own = isinstance(error, PeerDoubts)
            pause_s = self._terms.delivery.retry.pause_s(claim.doubts) if is_its_own else self._rest(str(error))
            self._store.deliveries.fail(claim, str(error), delay_s=pause_s, doubts=doubts)
            extra = {"delivery": claim.id, "to": self._name, "why": why, "again_in_s": round(pause_s, 1)}
            _log.warning("delivery failed", extra=extra)
        except Fenced as fenced:
            _log.warning("fenced", extra={"why": fenced})

    def _is_worth_another_try(self, claim: Delivery, error: DeliveryError, doubts: int) -> bool:
        if not error.retryable:
            return False
        if isinstance(error, PeerDoubts):
            return doubts < TRIES_OF_A_DOUBTFUL_OBJECT
        return self._store.deliveries.age_s(claim) < self._terms.undelivered_s


def _awaits_commitment(destination: Destination, connection: Connection) -> bool:
    """Where commitment is optional, a peer that does not offer it has said all that it will say."""
    if destination.commitment == "off":
        return False
    return destination.commitment == "required" or connection.offers_commitment


def _failure(error: NodeError | OSError) -> DeliveryError:
    """What is wrong on this side passes, too: a certificate, a token, a disk; a result that is damaged does not."""
    if isinstance(error, DeliveryError):
        return error
    if isinstance(error, NodeError):
        kind = PeerUnreachable if isinstance(error, ConfigRefused) else PeerRefused
        return kind(str(error))
    return PeerBusy(f"the result cannot be read here: {error.strerror or type(error).__name__}")
