"""The delivery role.

Claims deliveries and sends the stored bytes; what one destination answers never holds up another.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from threading import Event

from pynetdicom import Association

from dicom_sr_node import log
from dicom_sr_node.deliver import dimse, folder
from dicom_sr_node.errors import DeliveryError, Fenced, NodeError, PeerBusy, PeerDoubts, PeerRefused
from dicom_sr_node.records import FOLDER, Delivery
from dicom_sr_node.settings import Settings
from dicom_sr_node.spool import Spool
from dicom_sr_node.store.outputs import Deliveries, Outputs

_log = log.get("deliver")

TRIES_OF_A_DOUBTFUL_OBJECT = 3  # 0110, 0210, Cxxx: some archives answer them while their database is away


class Sender:
    """Sends until it is stopped."""

    def __init__(self, settings: Settings, spool: Spool, outputs: Outputs, deliveries: Deliveries, slot: str) -> None:
        self._settings, self._spool, self._slot = settings, spool, slot
        self._outputs, self._deliveries = outputs, deliveries
        limits = settings.delivery
        self._lease_s = 2 * (limits.connect_timeout_s + limits.response_timeout_s)

    def run(self, stop: Event) -> None:
        """Until `stop` is set."""
        self._deliveries.release(self._slot)
        _log.info("delivering", extra={"slot": self._slot})
        while not stop.is_set():
            held = self._deliveries.claim(self._slot, self._lease_s)
            if held is None:
                stop.wait(self._settings.delivery.poll_s)
            else:
                self._send_all_to(held, stop)

    def _send_all_to(self, first: Delivery, stop: Event) -> None:
        """Everything that is due for one destination, over one association."""
        if first.destination == FOLDER:
            out = self._settings.node.data_dir / "out"
            self._drain(first, stop, lambda held: folder.send(self._outputs.get(held.output_id), self._file(held), out))
            return
        peer = self._settings.peers.get(first.destination)
        if peer is None:
            self._settle(
                first,
                PeerRefused(f"no peer {first.destination!r} in the configuration any more; put it back and retry"),
            )
            return
        try:
            with dimse.association(
                self._settings.node.ae_title, peer, self._settings.delivery, dimse.offered(peer)
            ) as assoc:
                self._drain(first, stop, lambda held: dimse.send(assoc, self._file(held), peer), assoc)
        except DeliveryError as error:
            self._settle(first, error)
            if error.retryable:
                self._deliveries.postpone(first.destination, self._settings.delivery.retry_first_s)

    def _drain(
        self, held: Delivery | None, stop: Event, send: Callable[[Delivery], str], assoc: Association | None = None
    ) -> None:
        while held is not None:
            destination = held.destination
            try:
                note = send(held)
            except NodeError as error:
                self._settle(held, error)
                return  # a fresh association for the next one
            except OSError as error:
                self._settle(held, PeerBusy(f"the result cannot be read here: {error}"))
                return
            self._finish(held, note)
            usable = assoc is None or assoc.is_established
            held = (
                self._deliveries.claim(self._slot, self._lease_s, destination) if usable and not stop.is_set() else None
            )

    def _file(self, held: Delivery) -> Path:
        return self._spool.path("outbox", self._outputs.get(held.output_id).file)

    def _finish(self, held: Delivery, note: str) -> None:
        try:
            self._deliveries.done(held, note)
        except Fenced as error:
            _log.warning("fenced", extra={"why": error})
            return
        level = _log.warning if note else _log.info
        level("delivered", extra={"delivery": held.id, "to": held.destination, "note": note or "-"})

    def _settle(self, held: Delivery, error: NodeError) -> None:
        """A failed try: later again, or never."""
        given_up = isinstance(error, PeerDoubts) and held.failures + 1 >= TRIES_OF_A_DOUBTFUL_OBJECT
        try:
            if error.retryable and not given_up:
                delay_s = backoff(
                    held.failures, self._settings.delivery.retry_first_s, self._settings.delivery.retry_max_s
                )
                self._deliveries.fail(held, str(error), delay_s=delay_s)
                _log.warning("delivery failed", extra={"delivery": held.id, "why": error, "again_in_s": round(delay_s)})
            else:
                self._deliveries.dead(held, str(error))
                _log.error("delivery dead", extra={"delivery": held.id, "why": error})
        except Fenced as fenced:
            _log.warning("fenced", extra={"why": fenced})


def backoff(failures: int, first_s: float, longest_s: float) -> float:
    """first, 2 first, 4 first, ... up to the longest; each up to a fifth shorter, so that nodes do not try in step."""
    return min(longest_s, first_s * 2.0 ** min(failures, 30)) * random.uniform(0.8, 1.0)  # noqa: S311 - no secret
