"""The listening side: who gets a connection, and who has to make room.

pynetdicom does TLS handshakes in the loop that accepts, starts two threads for each TCP connection whether it ever
speaks, and counts silent connections as associations. Here a connection must first show a whole A-ASSOCIATE-RQ within
its deadline; only then does it become an association, with a seat of its own.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from copy import copy
from dataclasses import dataclass
from socketserver import BaseServer
from typing import Any

from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import ThreadedAssociationServer

from dicom_sr_node.domain.records import Caller
from dicom_sr_node.network import guard, requests, tls
from dicom_sr_node.network.budget import Budget
from dicom_sr_node.runtime import log

_log = log.get("network")

_ASSOCIATE_RQ = 0x01
_MOST_PENDING = 128  # connections that have not asked for an association yet
_IDLE_S, _STALLED_S = 10.0, 5.0  # when a seat may be taken from its holder for somebody of the same address
_PATIENCE_S = 0.5  # how long somebody waits for one
_BACKLOG = 128
_DECODING = threading.Semaphore(1)  # a request can be 250 kB of small items; ...
_SMALL = 1 << 15  # ... those of most callers are smaller than this, and wait for nobody
_BYTES_PER_S, _BYTES_AT_ONCE = 1 << 18, 1 << 20  # of requests of one address
_TLS_HANDSHAKE = 0x16  # what a TLS client's first byte is


@dataclass(frozen=True)
class ConnectionLimits:
    """How many associations there may be at the same time."""

    total: int
    per_address: int


class _Contexts(list[PresentationContext]):
    """pynetdicom copies all of them, with all they hold, for each association: most of what one costs."""

    def __deepcopy__(self, memo: dict[int, Any]) -> list[PresentationContext]:
        return [copy(context) for context in self]


class Server(ThreadedAssociationServer):  # type: ignore[misc]  # pynetdicom's types are not read
    """Accepts at once, whatever the other connections do."""

    daemon_threads = True
    request_queue_size = _BACKLOG

    def __init__(
        self,
        *arguments: Any,
        limits: guard.Limits,
        seats: ConnectionLimits,
        on_refused: Callable[[Caller], None],
        listener: socket.socket | None = None,
        **more: Any,
    ) -> None:
        """on_refused: told of each caller that is turned away before there is an association."""
        self._limits, self._seats, self._listener, self._on_refused = limits, seats, listener, on_refused
        self._idle_s = min(_IDLE_S, limits.idle_s / 2)
        self._budget = Budget(_BYTES_PER_S, _BYTES_AT_ONCE)
        self.socket: socket.socket
        self._lock = threading.Lock()
        self._pending: list[tuple[str, weakref.ref[socket.socket]]] = []  # the oldest first
        self._seated: list[Any] = []
        self._first: weakref.WeakKeyDictionary[Any, bytearray] = weakref.WeakKeyDictionary()
        super().__init__(*arguments, **more)
        self.contexts: list[PresentationContext] = _Contexts(self.contexts)
        self._supported = {
            str(context.abstract_syntax).encode(): [uid.encode() for uid in context.transfer_syntax]
            for context in self.contexts
        }

    def server_bind(self) -> None:
        """Listen anew, or where another server has listened so far."""
        if self._listener is None:
            super().server_bind()
            return
        self.socket.close()
        self.socket = self._listener
        self.server_address = self.socket.getsockname()

    def server_activate(self) -> None:
        """A socket that was taken over listens already, and callers may wait in it."""
        if self._listener is None:
            super().server_activate()

    def hand_over(self) -> socket.socket:
        """Accept no more: the socket, with all callers that wait in it, is another server's. Associations go on."""
        BaseServer.shutdown(self)
        self.ae._servers.remove(self)
        listener: socket.socket = self.socket
        return listener

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept; a TLS handshake is left to the connection's own thread."""
        connection, address = self.socket.accept()
        guard.set_options(connection, self._limits)
        if self.ssl_context:
            connection = self.ssl_context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Note the connection; where there are too many, the longest silent one of the busiest addresses goes."""
        with self._lock:
            self._pending = [(a, ref) for a, ref in self._pending if (s := ref()) is not None and s.fileno() >= 0]
            self._pending.append((str(client_address[0]), weakref.ref(request)))
            if len(self._pending) > _MOST_PENDING:
                counts = Counter(address for address, _ in self._pending)
                most = max(counts.values())
                oldest = next(at for at, (address, _) in enumerate(self._pending) if counts[address] == most)
                _hang_up(self._pending.pop(oldest)[1]())
        return True

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """The connection's own thread, until it is an association."""
        address = client_address[0]
        try:
            deadline = time.monotonic() + self._limits.pdu_s
            if isinstance(request, ssl.SSLSocket):
                request.settimeout(self._limits.pdu_s)
                request.do_handshake()
            self._first[request] = self._association_request(request, address, deadline)
            self.finish_request(request, client_address)
        except ssl.SSLError as error:
            self._turn_away(request, Caller("", address, tls.reason(error)))
        except requests.Malformed as error:
            self._turn_away(request, Caller(error.calling_ae, address, str(error)), error.answer)
        except (OSError, ValueError) as error:  # ValueError: closed meanwhile
            _log.info("connection ended", extra={"address": address, "why": type(error).__name__})
            self.shutdown_request(request)

    def _association_request(self, connection: socket.socket, address: str, deadline: float) -> bytearray:
        """The first PDU, whole and sound. Raises OSError where it is too slow, Malformed."""
        header = guard.receive(connection, guard.HEADER, deadline)
        if not header:
            raise ConnectionAbortedError("nothing came")
        if header[0] == _TLS_HANDSHAKE:
            raise requests.Malformed("it speaks TLS on the port without", answer=b"")
        length = int.from_bytes(header[2:])
        if len(header) < guard.HEADER or header[0] != _ASSOCIATE_RQ or length > guard.most_bytes(_ASSOCIATE_RQ):
            raise requests.Malformed("its first PDU is no A-ASSOCIATE-RQ, or too long")
        body = guard.receive(connection, length, deadline)
        if len(body) < length:
            raise ConnectionAbortedError("half an A-ASSOCIATE-RQ")
        time.sleep(min(self._budget.take(address, length), max(0.0, deadline - time.monotonic())))
        with nullcontext() if length < _SMALL else _DECODING:
            return requests.sound(bytes(header + body), self._supported)

    def _turn_away(self, request: Any, caller: Caller, answer: bytes = b"") -> None:
        try:
            if answer:
                request.sendall(answer)
        except OSError:  # gone already
            pass
        self._on_refused(caller)
        self.shutdown_request(request)

    def first_pdu(self, request: Any) -> bytearray:
        """The A-ASSOCIATE-RQ that a connection has shown."""
        return self._first.pop(request, bytearray())

    def seat(self, assoc: Any) -> bool:
        """Whether an association may go on. A holder that does nothing gives its seat to one that asks."""
        deadline = time.monotonic() + _PATIENCE_S
        while not self._take_seat(assoc):
            if time.monotonic() > deadline:
                return False
            time.sleep(_PATIENCE_S / 10)
        return True

    def _take_seat(self, assoc: Any) -> bool:
        address = assoc.requestor.address
        with self._lock:
            connection = guard.connection_of(assoc)
            self._pending = [(a, ref) for a, ref in self._pending if ref() is not connection]
            self._seated = [holder for holder in self._seated if holder.is_alive() and guard.connection_of(holder)]
            same = [holder for holder in self._seated if holder.requestor.address == address]
            rivals, idle_s = (same if len(same) >= self._seats.per_address else self._seated), self._idle_s
            if not same:  # whoever has none comes before those who have many
                rivals, idle_s = _of_busiest(self._seated), 0.0
            if len(same) >= self._seats.per_address or len(self._seated) >= self._seats.total:
                going = (holder for holder in rivals if _may_go(holder, idle_s))
                idlest = min(going, key=lambda holder: holder.dimse.progress_at, default=None)
                if idlest is None:
                    return False
                self._seated.remove(idlest)
                silent_s = round(time.monotonic() - idlest.dimse.progress_at, 1)
                names = {"calling_ae": repr(idlest.requestor.ae_title), "address": idlest.requestor.address}
                _log.warning("association ended for another", extra={**names, "silent_s": silent_s, "for": address})
                guard.cut(idlest)
            self._seated.append(assoc)
            return True


def _hang_up(connection: socket.socket | None) -> None:
    """Wake the thread that waits for this connection; it tidies up."""
    try:
        if connection is not None:
            connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # gone already
        return


def _of_busiest(seated: list[Any]) -> list[Any]:
    """The associations of the address that has most; all of them where each has one."""
    addresses = Counter(holder.requestor.address for holder in seated)
    most = max(addresses.values(), default=0)
    return [holder for holder in seated if addresses[holder.requestor.address] == most]


def _may_go(assoc: Any, idle_s: float) -> bool:
    silent_s = time.monotonic() - assoc.dimse.progress_at
    return silent_s > idle_s if assoc.dimse.is_idle else silent_s > _STALLED_S and not assoc.dimse.serving
