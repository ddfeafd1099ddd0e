"""The receiver (C-ECHO and C-STORE SCP): 0x0000 only after the bytes are synced and the rows committed.

It judges nothing but identity: whether an image is upscaled is decided by the worker, so that a slow or broken
decoder can never cost a sender its acknowledgement.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification
from sqlalchemy.exc import SQLAlchemyError

from dicom_sr_node.audit.messages import AuditMessages
from dicom_sr_node.commitment import wire
from dicom_sr_node.commitment.scp import CommitmentScp
from dicom_sr_node.config.settings import Settings
from dicom_sr_node.dicom import damage, header, software, syntaxes
from dicom_sr_node.dicom.statuses import (
    CANNOT_UNDERSTAND,
    DATA_SET_DOES_NOT_MATCH,
    NOT_AUTHORISED,
    OUT_OF_RESOURCES,
    SUCCESS,
)
from dicom_sr_node.domain.errors import NodeError, Unreadable
from dicom_sr_node.domain.records import Caller, Identity, Origin, Stored
from dicom_sr_node.network import guard, tls
from dicom_sr_node.network.refusals import Refusals
from dicom_sr_node.network.server import ConnectionLimits, Server
from dicom_sr_node.receive import callers
from dicom_sr_node.receive.callers import Authorisation
from dicom_sr_node.receive.incoming import Incoming, origin_of
from dicom_sr_node.role import RoleContext
from dicom_sr_node.rules import routing
from dicom_sr_node.runtime import failpoints, log

_log = log.get("receive")

# A-ASSOCIATE-RJ: result, source, reason (PS3.8 9.3.4)
REJECT_CALLER = (0x01, 0x01, 0x03)  # permanent, service user, calling AE title not recognised
REJECT_CALLED = (0x01, 0x01, 0x07)  # permanent, service user, called AE title not recognised
REJECT_FULL = (0x02, 0x03, 0x02)  # transient, service provider, local limit exceeded
_ANY_NUMBER = 1_000_000  # pynetdicom's own limit counts threads; ours is `Server.seat`


class Receiver:
    """Listens as soon as it is started; every association has a thread of its own."""

    def __init__(
        self,
        settings: Settings,
        role: RoleContext,
        audit: AuditMessages,
        commitment: CommitmentScp,
        refusals: Refusals,
    ) -> None:
        self._settings, self._spool, self._instances = settings, role.spool, role.store.instances
        self._refused, self._refusals = role.store.refused, refusals
        self._audit, self._commitment = audit, commitment
        self._reading = threading.Semaphore(1)  # a header can cost a hundred times its size while it is read
        self._may_store: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()  # as judged when the association began
        self._ae = self._entity()
        self._servers: dict[tuple[str, int], Server] = {}

    def start(self, before: Receiver | None = None) -> None:
        """Adopt what an earlier process left, then listen. Raises NodeError when a port is taken.

        before: the receiver of another configuration, which takes nobody new any more; its associations go on. Where
        both listen on one address, no caller finds it closed in between. If this fails, the one before goes on.
        """
        if before is None:
            self._spool.sweep()
            self.adopt()
        scp, secure = self._settings.scp, self._settings.tls
        listeners: list[tuple[int, str, Any]] = [(scp.port, "scp.port", None)] if scp.plain else []
        if secure.certificate:
            listeners.append((secure.port, "tls.port", tls.for_server(secure)))
        known = before._servers if before else {}
        try:
            for port, key, context in listeners:
                if (scp.host, port) not in known:
                    self._listen(port, key, context)
        except NodeError:
            self._ae.shutdown()
            raise
        for address, server in list(known.items()):
            listener = server.hand_over()
            for port, key, context in listeners:
                if (scp.host, port) == address:
                    self._listen(port, key, context, listener)
            if address not in self._servers:
                listener.close()
        known.clear()

    @property
    def is_busy(self) -> bool:
        """Whether an association is open."""
        return bool(self._ae.active_associations)

    def _listen(self, port: int, key: str, context: Any, listener: socket.socket | None = None) -> None:
        scp = self._settings.scp
        limits = guard.Limits(idle_s=scp.idle_timeout_s, pdu_s=scp.pdu_timeout_s)
        sink = partial(
            Incoming, spool=self._spool, most_bytes=scp.max_object_mb << 20, reserve_mb=self._settings.disk.reserve_mb
        )
        handlers = [
            *guard.handlers(limits, sink),
            (evt.EVT_REQUESTED, self._on_request),
            (evt.EVT_C_ECHO, lambda event: SUCCESS),
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_N_ACTION, _safely(self._commitment.on_action)),
            (evt.EVT_N_EVENT_REPORT, _safely(self._commitment.on_report)),
        ]
        seats = ConnectionLimits(scp.max_associations, min(scp.max_per_address, scp.max_associations))
        try:
            server = self._ae.make_server(
                (scp.host, port),
                ssl_context=context,
                evt_handlers=handlers,
                server_class=partial(
                    Server, limits=limits, seats=seats, on_refused=self._note_refused, listener=listener
                ),
            )
        except OSError as error:
            raise NodeError(f"cannot listen on {scp.host}:{port} (scp.host, {key}): {error}") from error
        self._ae._servers.append(server)
        self._servers[scp.host, port] = server
        threading.Thread(target=server.serve_forever, name=f"listen {port}", daemon=True).start()
        fields = {"ae_title": self._settings.node.ae_title, "host": scp.host, "port": port, "tls": context is not None}
        _log.info("listening", extra=fields)

    def stop(self) -> None:
        """Take no more associations, and end those that are open."""
        self._ae.shutdown()
        self.write_down_refusals()

    def write_down_refusals(self) -> None:
        """Who was turned away since the last time."""
        if taken := self._refusals.take():
            messages = {caller: self._audit.refused(caller) for caller in taken}
            self._refused.add(taken, messages)

    def _entity(self) -> AE:
        scp = self._settings.scp
        ae = AE(ae_title=self._settings.node.ae_title)
        ae.implementation_class_uid = software.IMPLEMENTATION_CLASS_UID
        ae.implementation_version_name = software.IMPLEMENTATION_VERSION
        ae.maximum_pdu_size = guard.MAX_PDU_BYTES
        ae.maximum_associations = _ANY_NUMBER
        ae.network_timeout = ae.dimse_timeout = scp.idle_timeout_s
        ae.acse_timeout = scp.pdu_timeout_s
        ae.add_supported_context(Verification)
        ae.add_supported_context(wire.SOP_CLASS, wire.TRANSFER_SYNTAXES, scu_role=True, scp_role=True)
        for uid in syntaxes.storage_classes(scp.accept):
            ae.add_supported_context(uid, syntaxes.ACCEPTED)
        return ae

    def _on_request(self, event: evt.Event) -> None:
        """Turn callers away before anything is negotiated."""
        assoc = event.assoc
        request, requestor = assoc.requestor.primitive, assoc.requestor
        title, called = request.calling_ae_title.strip(), request.called_ae_title.strip()
        if self._settings.scp.require_called_ae_title and called not in self._settings.ae_titles:
            self._refuse(assoc, Caller(title, requestor.address, f"{callers.OTHER_CALLED}: {called!r}"), REJECT_CALLED)
            return
        verdict = self._judge(assoc, title)
        self._may_store[assoc] = verdict.may_store
        if not verdict.may_call:
            self._refuse(assoc, Caller(title, requestor.address, verdict.why), REJECT_CALLER)
        elif not assoc._server.seat(assoc):
            _log.warning("association refused", extra={"address": requestor.address, "why": "all seats are taken"})
            _reject(assoc, REJECT_FULL)

    def _judge(self, assoc: Any, title: str) -> Authorisation:
        known_only, peers = self._settings.scp.require_known_callers, self._settings.peers
        connection = guard.connection_of(assoc)
        return callers.authorise(title, assoc.requestor.address, connection, peers, known_only=known_only)

    def _refuse(self, assoc: Any, caller: Caller, answer: tuple[int, int, int]) -> None:
        self._note_refused(caller)
        _reject(assoc, answer)

    def _note_refused(self, caller: Caller) -> None:
        fields = {"calling_ae": repr(caller.calling_ae), "address": caller.address, "why": caller.why}
        _log.warning("caller refused", extra=fields)
        self._refusals.add(caller)

    def _on_store(self, event: evt.Event) -> int:
        """One image. The status says what the sender may rely on."""
        incoming: Incoming = event.request.DataSet
        try:
            with _serving(event.assoc):
                answer = self._store(event, incoming)
            if guard.connection_of(event.assoc) is None:
                _log.warning("sender left before our answer", extra=_names(event.assoc))
            return answer
        except ConnectionAbortedError:  # with the last bytes still on their way
            _log.warning("sender left", extra=_names(event.assoc))
            return OUT_OF_RESOURCES
        except Unreadable as error:
            _log.warning("image refused", extra={"status": "C000", "why": error})
            return CANNOT_UNDERSTAND
        except (OSError, SQLAlchemyError) as error:
            _log.error("image not stored", extra={"status": "A700", "why": log.kind_of(error)})
            return OUT_OF_RESOURCES
        except Exception:  # a fault of ours must not read as a fault of the image: pynetdicom would answer 0xC211
            _log.exception("image not stored")
            return OUT_OF_RESOURCES
        finally:
            incoming.drop()

    def _store(self, event: evt.Event, incoming: Incoming) -> int:
        if not self._may_store.get(event.assoc, False):
            return NOT_AUTHORISED
        stored = incoming.keep()
        try:
            with self._reading:
                identity, syntax, rest = header.read_identity(self._spool.path("in", stored.name))
        except BaseException:
            self._spool.discard("in", stored.name)
            raise
        request = event.request
        if (identity.sop_class_uid, identity.sop_instance_uid) != (
            request.AffectedSOPClassUID,
            request.AffectedSOPInstanceUID,
        ):
            self._spool.discard("in", stored.name)
            return DATA_SET_DOES_NOT_MATCH
        # A commit that fails may yet have happened: the file stays, and the next start adopts or removes it.
        origin = origin_of(event.assoc)
        message = self._audit.received(identity, origin.calling_ae, event.assoc.requestor.address)
        new = self.commit(identity, stored, syntax, rest, origin, message)
        failpoints.hit("in.committed")
        if new is None:
            self._spool.discard("in", stored.name)
        _log.info("received", extra={"image": new or "again", "bytes": stored.bytes})
        return SUCCESS

    def commit(
        self, identity: Identity, stored: Stored, syntax: str, rest: Dataset, origin: Origin, message: str = ""
    ) -> int | None:
        """Rows for a file that is kept: the image, its job, its audit message; None if it was here already."""
        now = datetime.now().astimezone()
        if any(rule.match.asks_for_size for rule in self._settings.rules):
            rest.update(header.read_size(self._spool.path("in", stored.name)))
        with damage.usable():
            routing.rule_for(rest, self._settings.rules, origin)  # a text that no rule can read is not kept
        return self._instances.receive(
            identity,
            stored,
            transfer_syntax_uid=syntax,
            origin=origin,
            route=lambda caller: routing.route(rest, self._settings.rules, caller, self._settings.work.off_peak, now),
            message=message,
        )

    def adopt(self, age_s: float = 0.0) -> None:
        """Take in files that were kept but not committed when a process died; they were never acknowledged.

        age_s: only those so old, which no receiver is at work on any more.
        """
        purged = self._instances.files(purged=True)
        for name in self._spool.names("in") - self._instances.files():
            path = self._spool.path("in", name)
            if name in purged:  # its end was interrupted
                self._spool.discard("in", name)
                continue
            try:
                if time.time() - path.stat().st_mtime < age_s:
                    continue
                identity, syntax, rest = header.read_identity(path)
                stored = Stored(name=name, sha256=header.data_set_sha256(path), bytes=path.stat().st_size)
                new = self.commit(identity, stored, syntax, rest, header.origin(path))
            except FileNotFoundError:  # another receiver had it
                continue
            except Unreadable as error:
                _log.warning("orphan removed", extra={"file": name, "why": error})
                new = None
            except (SQLAlchemyError, OSError):
                raise
            except Exception as error:  # a fault of ours: the file stays, and keeps no receiver from starting
                _log.error("orphan not adopted", extra={"file": name, "why": log.kind_of(error)})
                continue
            if new is None:
                self._spool.discard("in", name)
            else:
                _log.warning("orphan adopted", extra={"file": name, "image": new})


def _names(assoc: Any) -> dict[str, str]:
    """Who it is, for the log."""
    return {"calling_ae": repr(assoc.requestor.ae_title.strip()), "address": assoc.requestor.address}


def _reject(assoc: Any, answer: tuple[int, int, int]) -> None:
    assoc.acse.send_reject(*answer)
    assoc.kill()


@contextmanager
def _serving(assoc: Any) -> Iterator[None]:
    """While we are at work for a peer it does not count as idle."""
    assoc.dimse.serving = True
    try:
        yield
    finally:
        assoc.dimse.serving = False


def _safely(handler: Callable[[evt.Event], tuple[int, None]]) -> Callable[[evt.Event], tuple[int, None]]:
    """A fault of ours is a failure that the peer may try again."""

    def handle(event: evt.Event) -> tuple[int, None]:
        try:
            return handler(event)
        except Exception as error:
            _log.error("commitment failed", extra={"why": log.kind_of(error)})
            return wire.PROCESSING_FAILURE, None

    return handle
