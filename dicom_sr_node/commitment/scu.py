"""Storage commitment on associations that go out: what we ask of peers, and our reports on what peers asked of us."""

from __future__ import annotations

import time
from collections.abc import Mapping
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
from dicom_sr_node.domain.errors import DeliveryError, Fenced, PeerRefused, PeerUnreachable, Unreadable
from dicom_sr_node.network import associations, guard
from dicom_sr_node.network.local_entity import LocalEntity
from dicom_sr_node.runtime import failpoints, log
from dicom_sr_node.runtime.backoff import RetryPolicy
from dicom_sr_node.store.commitments import Commitments

_log = log.get("deliver")

_SAME_ASSOCIATION_S = 1.0  # so long a peer may report on the association of the request; later it opens its own
_LEASE_S = 300.0
_MOST_REPORTS = 20  # tries to bring a report to a peer that asked


class CommitmentScu:
    """Asks one peer to commit to what was sent to it."""

    def __init__(
        self, entity: LocalEntity, name: str, peer: Peer, commitments: Commitments, undelivered_s: float
    ) -> None:
        """undelivered_s: so long a peer that must commit may take its time."""
        self._entity, self._name, self._peer, self._commitments = entity, name, peer, commitments
        self._undelivered_s = undelivered_s

    def ask(self) -> bool:
        """One request for all that is due, committed before it is sent; False if nothing is."""
        uid = str(generate_uid(prefix=None))
        limits = self._entity.timeouts
        required = self._peer.commitment == "required"
        references = self._commitments.begin(
            self._name,
            uid,
            wait_s=limits.exchange_s,
            required=required,
            patience_s=self._undelivered_s,
        )
        if not references:
            return False
        failpoints.hit("commitment.begun")
        try:
            self._send(CommitmentAction(uid, tuple(references)))
            _log.info("commitment asked", extra={"of": self._name, "images": len(references)})
        except DeliveryError as error:
            _log.warning("commitment not asked", extra={"of": self._name, "why": error.message})
            if isinstance(error, PeerRefused) and not required:
                self._commitments.give_up(uid, error.message)
                return True
            self._commitments.postpone(uid, str(error), limits.retry.pause_s(0))
        return True

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
                with guard.exchange(assoc, N_ACTION):
                    answer, _ = assoc.send_n_action(request.data_set(), REQUEST, SOP_CLASS, SOP_INSTANCE)
            except (RuntimeError, ValueError, OSError) as error:
                raise PeerUnreachable("the association broke while storage commitment was asked for") from error
            if "Status" in answer and answer.Status != SUCCESS:
                raise PeerRefused(f"asked for storage commitment, the peer answered {text(answer.Status)}")
            if "Status" not in answer and time.monotonic() < deadline:  # no timeout: the association is gone
                raise PeerRefused("asked for storage commitment, the peer ended the association: does it know us?")
            if "Status" not in answer:
                raise PeerUnreachable("asked for storage commitment, the peer answered nothing")
            self._commitments.sent(request.transaction_uid, self._entity.timeouts.commitment_wait_s)
            reported.wait(_SAME_ASSOCIATION_S)

    def _take(self, report: CommitmentReport) -> None:
        if self._commitments.destination_of(report.transaction_uid) != self._name:
            raise Unreadable("nobody asked this peer for it")
        self._commitments.report(report.transaction_uid, report.committed_uids, report.failed_uids)


class CommitmentReporter:
    """Brings our reports to the peers that asked us."""

    def __init__(self, entity: LocalEntity, peers: Mapping[str, Peer], policy: CommitmentPolicy, slot: str) -> None:
        self._entity, self._peers, self._policy, self._slot = entity, peers, policy, slot
        retry = entity.timeouts.retry
        self._retry = RetryPolicy(retry.first_s, retry.longest_s, _MOST_REPORTS)

    def report(self) -> bool:
        """One report; False if none is due."""
        requests = self._policy.requests
        claim = requests.claim(self._slot, _LEASE_S)
        if claim is None:
            return False
        peer = next((peer for peer in self._peers.values() if peer.ae_title == claim.calling_ae), None)
        try:
            if peer is None:
                requests.dead(claim, "the caller is no peer of the configuration: where it listens is not known")
                return True
            try:
                self._send(peer, self._policy.report(claim))
                requests.done(claim)
            except DeliveryError as error:
                failures = claim.failures + 1
                _log.warning("commitment not reported", extra={"why": error.message, "tries": failures})
                if self._retry.is_spent(failures):
                    requests.dead(claim, str(error))
                else:
                    requests.fail(claim, str(error), delay_s=self._retry.pause_s(claim.failures))
        except Fenced as error:
            _log.warning("fenced", extra={"why": error})
        return True

    def _send(self, peer: Peer, report: CommitmentReport) -> None:
        with associations.association(self._entity, peer, [CONTEXT], scp_of=SOP_CLASS) as assoc:
            answer: Any
            try:
                with guard.exchange(assoc, N_EVENT_REPORT):
                    answer, _ = assoc.send_n_event_report(report.data_set(), report.event_type, SOP_CLASS, SOP_INSTANCE)
            except (RuntimeError, ValueError, OSError) as error:
                raise PeerUnreachable("the association broke while the report was sent") from error
            if "Status" not in answer or answer.Status != SUCCESS:
                status = text(answer.Status) if "Status" in answer else "nothing"
                raise PeerUnreachable(f"the peer answered {status} to the report")
