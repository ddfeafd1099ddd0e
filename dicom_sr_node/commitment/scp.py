"""Storage commitment on associations that come in: requests of peers to us, and reports of peers on ours."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from pynetdicom import evt
from pynetdicom.dimse_primitives import N_EVENT_REPORT

from dicom_sr_node.commitment.policy import CommitmentPolicy
from dicom_sr_node.commitment.wire import (
    INVALID_ARGUMENT,
    NO_SUCH_ACTION,
    PROCESSING_FAILURE,
    REQUEST,
    SOP_CLASS,
    SOP_INSTANCE,
    CommitmentAction,
    CommitmentReport,
    decoded,
)
from dicom_sr_node.config.destinations import Peer
from dicom_sr_node.dicom.statuses import SUCCESS
from dicom_sr_node.domain.errors import NodeError, Unreadable
from dicom_sr_node.domain.records import Caller
from dicom_sr_node.network import guard
from dicom_sr_node.network.addresses import is_from
from dicom_sr_node.network.refusals import Refusals
from dicom_sr_node.runtime import log
from dicom_sr_node.store.commitments import Commitments

_log = log.get("receive")

NOT_ASKED = "reports on a commitment that nobody asked it for"
_SAME_ASSOCIATION_S = 0.2  # our answer to the request goes out first
_REVERSE_S = 5.0  # then the peer has let go, and an association of ours brings the report
_LEASE_S = 60.0


class CommitmentScp:
    """Answers N-ACTION and N-EVENT-REPORT."""

    def __init__(
        self,
        peers: Mapping[str, Peer],
        policy: CommitmentPolicy,
        commitments: Commitments,
        slot: str,
        refusals: Refusals,
    ) -> None:
        self._peers, self._policy, self._commitments, self._slot = peers, policy, commitments, slot
        self._refusals = refusals

    def on_action(self, event: evt.Event) -> tuple[int, None]:
        """A peer asks: the request is committed before the answer, and the report follows."""
        if event.action_type != REQUEST:
            return NO_SUCH_ACTION, None
        try:
            request = decoded(event, lambda: CommitmentAction.read(event.action_information))
        except Unreadable as error:
            _log.warning("commitment request refused", extra={"why": error})
            return INVALID_ARGUMENT, None
        calling_ae, address = event.assoc.requestor.ae_title.strip(), event.assoc.requestor.address
        if self._policy.requests.add(request.transaction_uid, calling_ae, address, request.references, _REVERSE_S):
            _log.info("commitment asked of us", extra={"images": len(request.references)})
            arguments = (event.assoc, request.transaction_uid)
            threading.Thread(target=self._report, args=arguments, daemon=True).start()
        return SUCCESS, None

    def on_report(self, event: evt.Event) -> tuple[int, None]:
        """A peer reports on what we asked; a report on what nobody asked, or of somebody else, is an error."""
        try:
            report = decoded(event, lambda: CommitmentReport.read(event.event_information))
        except Unreadable as error:
            _log.warning("commitment report refused", extra={"why": error})
            return INVALID_ARGUMENT, None
        destination = self._commitments.destination_of(report.transaction_uid)
        if destination is None or not self._is_from(event.assoc, destination):
            requestor = event.assoc.requestor
            caller = Caller(requestor.ae_title.strip(), requestor.address, NOT_ASKED)
            fields = {"why": NOT_ASKED, "calling_ae": repr(caller.calling_ae), "address": caller.address}
            _log.warning("commitment report refused", extra=fields)
            self._refusals.add(caller)
            return PROCESSING_FAILURE, None
        self._commitments.report(report.transaction_uid, report.committed_uids, report.failed_uids)
        counts = {"committed": len(report.committed), "failed": len(report.failed)}
        _log.info("commitment reported", extra={"by": destination, **counts})
        return SUCCESS, None

    def _is_from(self, assoc: Any, destination: str) -> bool:
        peer = self._peers.get(destination)
        title, address = assoc.requestor.ae_title.strip(), assoc.requestor.address
        return peer is not None and peer.ae_title == title and is_from(address, peer)

    def _report(self, assoc: Any, transaction_uid: str) -> None:
        """Report on the association of the request while it is open; else the delivery role does, on one of its own."""
        time.sleep(_SAME_ASSOCIATION_S)
        if not assoc.is_established:
            return
        request = self._policy.requests.claim(self._slot, _LEASE_S, transaction_uid)
        if request is None:
            return
        try:
            report = self._policy.report(request)
            with guard.exchange(assoc, N_EVENT_REPORT) as message_id:
                status, _ = assoc.send_n_event_report(
                    report.data_set(), report.event_type, SOP_CLASS, SOP_INSTANCE, msg_id=message_id
                )
            if status and status.Status == SUCCESS:
                self._policy.requests.done(request)
            else:
                self._policy.requests.fail(request, "no answer on the association of the request", delay_s=0)
        except (RuntimeError, ValueError, OSError):  # released or broken meanwhile
            self._policy.requests.fail(request, "the association of the request ended", delay_s=0)
        except NodeError as error:  # fenced
            _log.warning("commitment report dropped", extra={"why": error})
