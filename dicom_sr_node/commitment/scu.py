"""Storage commitment on associations that go out: what we ask of peers, and our reports on what peers asked of us."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from threading import Event
from typing import Any

from pydicom.uid import generate_uid
from pynetdicom import evt
from pynetdicom.dimse_primitives import N_ACTION, N_EVENT_REPORT

from dicom_sr_node.commitment.policy import CommitmentPolicy
from dicom_sr_node.commitment.wire import (
    CONTEXT,
    INVALID_ARGUMENT,
    REQUEST,
    SOP_CLASS,
    SOP_INSTANCE,
    CommitmentAction,
    CommitmentReport,
    decoded,
)
from dicom_sr_node.config.destinations import Peer
from dicom_sr_node.dicom.statuses import SUCCESS, text
from dicom_sr_node.domain.errors import (
    DeliveryError,
    Fenced,
    NothingAccepted,
    PeerBusy,
    PeerDoubts,
    PeerRefused,
    PeerUnreachable,
    Unreadable,
)
from dicom_sr_node.domain.records import CommitmentRequest
from dicom_sr_node.network import addresses, associations, guard
from dicom_sr_node.network.local_entity import LocalEntity
from dicom_sr_node.runtime import failpoints, log
from dicom_sr_node.store.commitments import Commitments
from dicom_sr_node.store.destinations import Destinations

_log = log.get("deliver")

_SAME_ASSOCIATION_S = 1.0  # so long a peer may report on the association of the request; later it opens its own
_LEASE_S = 300.0
_MAY_PASS = (0x0110, 0x0213)  # processing failure, resource limitation


class CommitmentScu:
    """Asks one peer to commit to what was sent to it."""

    def __init__(
        self, entity: LocalEntity, name: str, peer: Peer, commitments: Commitments, undelivered_s: float
    ) -> None:
        """undelivered_s: so long a peer that must commit may take its time."""
        self._entity, self._name, self._peer, self._commitments = entity, name, peer, commitments
        self._undelivered_s = undelivered_s
        self._failures = 0  # in a row, of requests that reached the peer

    def ask(self, rest: Callable[[str], float]) -> bool:
        """One request for all that is due, committed before it is sent; False if nothing is.

        rest: leaves the peer alone, for this reason; returns for how long.
        """
        uid = str(generate_uid(prefix=None))
        limits = self._entity.timeouts
        references = self._commitments.begin(
            self._name,
            uid,
            wait_s=limits.exchange_s,
            required=self._peer.commitment == "required",
            patience_s=self._undelivered_s,
        )
        if not references:
            return False
        failpoints.hit("commitment.begun")
        try:
            self._send(CommitmentAction(uid, tuple(references)))
            _log.info("commitment asked", extra={"of": self._name, "images": len(references)})
            self._failures = 0
        except DeliveryError as error:
            _log.warning("commitment not asked", extra={"of": self._name, "why": error.message})
            self._settle(uid, error, rest)
        return True

    def _settle(self, uid: str, error: DeliveryError, rest: Callable[[str], float]) -> None:
        """Ask again later. Where commitment is required, only a refusal counts against what was sent."""
        required, is_refusal = self._peer.commitment == "required", isinstance(error, PeerRefused | NothingAccepted)
        if not required and (is_refusal or isinstance(error, PeerDoubts)):
            self._commitments.give_up(uid, error.message)
        elif isinstance(error, PeerUnreachable) and not is_refusal:
            self._commitments.postpone(uid, str(error), rest(str(error)), counts=False)
        else:
            pause_s = self._entity.timeouts.retry.pause_s(self._failures)
            self._commitments.postpone(uid, str(error), pause_s, counts=is_refusal or not required)
            self._failures += 1

    def _send(self, request: CommitmentAction) -> None:
        reported = Event()

        def on_report(event: evt.Event) -> tuple[int, None]:
            try:
                self._take(decoded(event, lambda: CommitmentReport.read(event.event_information)))
            except Unreadable:
                return INVALID_ARGUMENT, None
            reported.set()
            return SUCCESS, None

        handlers = [(evt.EVT_N_EVENT_REPORT, on_report)]
        with associations.association(self._entity, self._peer, [CONTEXT], handlers=handlers) as assoc:
            deadline = time.monotonic() + self._entity.timeouts.response_timeout_s
            try:
                with guard.exchange(assoc, N_ACTION) as message_id:
                    answer, _ = assoc.send_n_action(
                        request.data_set(), REQUEST, SOP_CLASS, SOP_INSTANCE, msg_id=message_id
                    )
            except (RuntimeError, ValueError, OSError) as error:
                raise PeerBusy("the association broke while storage commitment was asked for") from error
            if "Status" not in answer and time.monotonic() < deadline:  # no timeout: the association is gone
                raise PeerDoubts("asked for storage commitment, the peer ended the association: does it know us?")
            if "Status" not in answer:
                raise PeerBusy("asked for storage commitment, the peer answered nothing")
            if answer.Status != SUCCESS:
                kind = PeerBusy if answer.Status in _MAY_PASS else PeerRefused
                raise kind(f"asked for storage commitment, the peer answered {text(answer.Status)}")
            self._commitments.sent(request.transaction_uid, self._entity.timeouts.commitment_wait_s)
            reported.wait(_SAME_ASSOCIATION_S)

    def _take(self, report: CommitmentReport) -> None:
        if self._commitments.destination_of(report.transaction_uid) != self._name:
            raise Unreadable("nobody asked this peer for it")
        self._commitments.report(report.transaction_uid, report.committed_uids, report.failed_uids)


class CommitmentReporter:
    """Brings our reports to the peers that asked us."""

    def __init__(
        self,
        entity: LocalEntity,
        peers: Mapping[str, Peer],
        policy: CommitmentPolicy,
        destinations: Destinations,
        slot: str,
        undelivered_s: float,
    ) -> None:
        """undelivered_s: after so long a report that nobody took is dead."""
        self._entity, self._peers, self._policy, self._slot = entity, peers, policy, slot
        self._destinations, self._undelivered_s = destinations, undelivered_s

    def report(self) -> bool:
        """One report; False if none is due."""
        requests = self._policy.requests
        claim = requests.claim(self._slot, _LEASE_S)
        if claim is None:
            return False
        name = addresses.peer_of(claim.calling_ae, claim.address, self._peers)
        try:
            if name is None:
                requests.dead(claim, "the caller is no peer of the configuration: where it listens is not known")
                return True
            try:
                if self._destinations.rests(name):
                    raise PeerUnreachable(f"{name} is given a rest: it could not be reached")
                self._send(self._peers[name], self._policy.report(claim))
                requests.done(claim)
            except DeliveryError as error:
                self._settle(claim, error)
        except Fenced as error:
            _log.warning("fenced", extra={"why": error})
        return True

    def _settle(self, claim: CommitmentRequest, error: DeliveryError) -> None:
        _log.warning("commitment not reported", extra={"why": error.message, "tries": claim.failures + 1})
        if self._policy.requests.age_s(claim) > self._undelivered_s:
            self._policy.requests.dead(claim, str(error))
        else:
            pause_s = self._entity.timeouts.retry.pause_s(claim.failures)
            self._policy.requests.fail(claim, str(error), delay_s=pause_s)

    def _send(self, peer: Peer, report: CommitmentReport) -> None:
        with associations.association(self._entity, peer, [CONTEXT], scp_of=SOP_CLASS) as assoc:
            answer: Any
            try:
                with guard.exchange(assoc, N_EVENT_REPORT) as message_id:
                    answer, _ = assoc.send_n_event_report(
                        report.data_set(), report.event_type, SOP_CLASS, SOP_INSTANCE, msg_id=message_id
                    )
            except (RuntimeError, ValueError, OSError) as error:
                raise PeerUnreachable("the association broke while the report was sent") from error
            if "Status" not in answer or answer.Status != SUCCESS:
                status = text(answer.Status) if "Status" in answer else "nothing"
                raise PeerUnreachable(f"the peer answered {status} to the report")
