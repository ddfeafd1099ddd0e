"""Storage commitment on associations that go out: what we ask of peers, and our reports on what peers asked of us."""

from __future__ import annotations

import time
from threading import Event
from typing import Any

from pydicom.uid import generate_uid
from pynetdicom import evt
from pynetdicom.dimse_primitives import N_ACTION, N_EVENT_REPORT

from dicom_sr_node import failpoints, log, vouch
from dicom_sr_node.deliver import dimse
from dicom_sr_node.errors import DeliveryError, Fenced, PeerRefused, PeerUnreachable, Unreadable
from dicom_sr_node.network import guard
from dicom_sr_node.network.commitment import (
    INVALID_ARGUMENT,
    REQUEST,
    SOP_CLASS,
    SOP_INSTANCE,
    Report,
    Request,
    decoded,
)
from dicom_sr_node.network.status import SUCCESS, text
from dicom_sr_node.settings import Peer, Settings
from dicom_sr_node.spool import Spool
from dicom_sr_node.store.commitments import AskedOfUs, Commitments
from dicom_sr_node.store.destinations import backoff
from dicom_sr_node.store.instances import Instances

_log = log.get("deliver")

_SAME_ASSOCIATION_S = 1.0  # so long a peer may report on the association of the request; later it opens its own
_LEASE_S = 300.0
_MOST_REPORTS = 20  # tries to bring a report to a peer that asked


class Asker:
    """Asks one peer to commit to what was sent to it."""

    def __init__(self, settings: Settings, name: str, peer: Peer, commitments: Commitments) -> None:
        self._settings, self._name, self._peer, self._commitments = settings, name, peer, commitments

    def ask(self) -> bool:
        """One request for all that is due, committed before it is sent; False if nothing is."""
        uid = str(generate_uid(prefix=None))
        limits = self._settings.delivery
        required = self._peer.commitment == "required"
        wanted = self._commitments.begin(
            self._name,
            uid,
            wait_s=limits.exchange_s,
            required=required,
            patience_s=self._settings.retention.undelivered_s,
        )
        if not wanted:
            return False
        failpoints.hit("commitment.begun")
        try:
            self._send(Request(uid, tuple(wanted)))
            _log.info("commitment asked", extra={"of": self._name, "images": len(wanted)})
        except DeliveryError as error:
            _log.warning("commitment not asked", extra={"of": self._name, "why": error.told})
            if isinstance(error, PeerRefused) and not required:
                self._commitments.give_up(uid, error.told)
                return True
            self._commitments.postpone(uid, str(error), backoff(0, limits.retry_first_s, limits.retry_max_s))
        return True

    def _send(self, request: Request) -> None:
        reported = Event()

        def on_report(event: evt.Event) -> tuple[int, None]:
            try:
                self._take(decoded(event, lambda: Report.read(event.event_information)))
            except Unreadable:
                return INVALID_ARGUMENT, None
            reported.set()
            return SUCCESS, None

        handlers = [(evt.EVT_N_EVENT_REPORT, on_report)]
        with dimse.association(self._settings, self._peer, [dimse.COMMITMENT], handlers=handlers) as assoc:
            deadline = time.monotonic() + self._settings.delivery.response_timeout_s
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
            self._commitments.sent(request.transaction_uid, self._settings.delivery.commitment_wait_s)
            reported.wait(_SAME_ASSOCIATION_S)

    def _take(self, report: Report) -> None:
        if self._commitments.destination_of(report.transaction_uid) != self._name:
            raise Unreadable("nobody asked this peer for it")
        self._commitments.report(report.transaction_uid, report.committed_uids, report.failed_uids)


class Reporter:
    """Brings our reports to the peers that asked us."""

    def __init__(self, settings: Settings, spool: Spool, instances: Instances, asked: AskedOfUs, slot: str) -> None:
        self._settings, self._spool, self._instances, self._asked, self._slot = settings, spool, instances, asked, slot

    def report(self) -> bool:
        """One report; False if none is due."""
        held = self._asked.claim(self._slot, _LEASE_S)
        if held is None:
            return False
        limits = self._settings.delivery
        peer = next((p for p in self._settings.peers.values() if p.ae_title == held.calling_ae), None)
        try:
            if peer is None:
                self._asked.dead(held, "the caller is no peer of the configuration: where it listens is not known")
                return True
            try:
                self._send(peer, vouch.report(held, self._instances, self._spool))
                self._asked.done(held)
            except DeliveryError as error:
                _log.warning("commitment not reported", extra={"why": error.told, "tries": held.failures + 1})
                if held.failures + 1 >= _MOST_REPORTS:
                    self._asked.dead(held, str(error))
                else:
                    pause_s = backoff(held.failures, limits.retry_first_s, limits.retry_max_s)
                    self._asked.fail(held, str(error), delay_s=pause_s)
        except Fenced as error:
            _log.warning("fenced", extra={"why": error})
        return True

    def _send(self, peer: Peer, report: Report) -> None:
        with dimse.association(self._settings, peer, [dimse.COMMITMENT], reverse=True) as assoc:
            answer: Any
            try:
                with guard.exchange(assoc, N_EVENT_REPORT):
                    answer, _ = assoc.send_n_event_report(report.data_set(), report.event_type, SOP_CLASS, SOP_INSTANCE)
            except (RuntimeError, ValueError, OSError) as error:
                raise PeerUnreachable("the association broke while the report was sent") from error
            if "Status" not in answer or answer.Status != SUCCESS:
                told = text(answer.Status) if "Status" in answer else "nothing"
                raise PeerUnreachable(f"the peer answered {told} to the report")
