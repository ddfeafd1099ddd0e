"""What keeps a silent, slow or endless peer from holding the node, on associations in and out.

pynetdicom sets no timeout on accepted sockets, waits for ever for the rest of a PDU, believes every length that it is
told, collects a message in memory without an end, and leaves the connection open when one of its threads fails on a
malformed PDU. `handlers` bounds each of these from the event that a connection is open: it gives the association
another socket wrapper and another collector of messages, and tidies up when its threads end, however they end.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Any

from pynetdicom import evt
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import N_EVENT_REPORT_RQ, DIMSEMessage
from pynetdicom.dimse_primitives import N_EVENT_REPORT
from pynetdicom.transport import AssociationSocket

from dicom_sr_node.domain.errors import NodeError
from dicom_sr_node.runtime import log

_log = log.get("network")

MAX_PDU_BYTES = 131_072  # what dcmtk sends at most; larger ones cost less each
HEADER = 6  # bytes of type and length, PS3.8 9.3.1
_P_DATA, _ASSOCIATE = 0x04, (0x01, 0x02)
_KNOWN_PDUS = range(0x01, 0x08)
_MOST_P_DATA = 1 << 20  # bytes: some peers send more than what we said we take
_MOST_FRAGMENTS = 64  # in one PDU; peers send one or two
_MOST_ASSOCIATE = 1 << 18  # 128 contexts with all transfer syntaxes are 100 kB
_MOST_OTHER = 1 << 8  # rejection, release, abort: 4 bytes
_MOST_COMMAND = 1 << 13
_MOST_OTHER_DATA = 1 << 19  # a data set that is no image: the references of a storage commitment
_MOST_MESSAGES = 0xFFFF  # Message IDs
_MOST_WAITING = 2  # messages that a peer may send ahead of our answers
_LOOK_S = 0.001  # how often it is looked whether there is room for one more
_MOST_REPORTS = 16  # N-EVENT-REPORTs on one association: each gets a thread
_REPORTING = threading.Semaphore(8)
_NOTHING = (None, None)  # what pynetdicom takes for no answer
_SLOWEST = 4096  # bytes per second of a message that takes longer than one PDU may


@dataclass(frozen=True)
class Limits:
    """Seconds. idle: between two PDUs and for each write; pdu: from a PDU's first byte to its last."""

    idle_s: float
    pdu_s: float


Sink = Callable[[Any, DIMSEMessage], "Bounded"]


def handlers(limits: Limits, sink: Sink | None = None) -> list[tuple[Any, ...]]:
    """For `evt_handlers`. sink: makes what the data set of each message is written to; None: bounded memory."""
    return [(evt.EVT_CONN_OPEN, _watch, [limits, sink or Bounded])]


def connection_of(assoc: Any) -> socket.socket | None:
    """The socket of an association; None once it is closed."""
    wrapper = assoc.dul.socket
    return None if wrapper is None else wrapper.socket


def cut(assoc: Any) -> None:
    """End a connection from within, without a word: what the peer sends cannot be trusted any more."""
    if connection_of(assoc) is not None:
        assoc.dul.socket.close()
        assoc.dimse.msg_queue.put(_NOTHING)  # who waits for an answer need not wait for the timeout


@contextmanager
def exchange(assoc: Any, kind: type, sop_instance_uid: str = "") -> Iterator[int]:
    """Around a request of ours: pynetdicom takes any message with a status for the answer, whatever it answers.

    Gives the Message ID for the request. kind: the primitive of the service; sop_instance_uid: what the request is
    about, which an answer need not name. Raises OSError for an answer to something else or one that makes no sense, and
    what else pynetdicom raises of itself.
    """
    messages: Messages = assoc.dimse
    messages.ask()
    try:
        yield messages.asked_id
    except (ValueError, RuntimeError, OSError, NodeError):
        raise
    except Exception as error:
        cut(assoc)
        raise ConnectionAbortedError(f"an answer that makes no sense: {log.kind_of(error)}") from error
    finally:
        messages.asking = False
    if why := messages.why_no_answer(kind, sop_instance_uid):
        cut(assoc)
        raise ConnectionAbortedError(why)


def set_options(connection: socket.socket, limits: Limits) -> None:
    """Deadlines that the kernel keeps, and no waiting for more to send."""
    connection.settimeout(limits.idle_s)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # Nagle costs 50 ms for each C-STORE
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(limits.idle_s * 1000))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def most_bytes(pdu_type: int) -> int:
    """How long the body of a PDU may be (PS3.8 9.3)."""
    if pdu_type == _P_DATA:
        return _MOST_P_DATA
    return _MOST_ASSOCIATE if pdu_type in _ASSOCIATE else _MOST_OTHER


def receive(connection: socket.socket, length: int, deadline: float) -> bytearray:
    """So many bytes, fewer at the end of the connection. Raises TimeoutError: not all of them came in time."""
    received = bytearray(length)
    have = 0
    with memoryview(received) as view:
        while have < length:
            connection.settimeout(_left(deadline))
            count = connection.recv_into(view[have:])
            if not count:
                break
            have += count
    del received[have:]
    return received


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the peer is too slow")
    return left


def _watch(event: evt.Event, limits: Limits, sink: Sink) -> None:
    assoc = event.assoc
    wrapper, connection = assoc.dul.socket, connection_of(assoc)
    if connection is None:
        return
    set_options(connection, limits)
    wrapper.__class__ = _Socket
    wrapper.limits = limits
    wrapper.first = assoc._server.first_pdu(connection) if assoc.is_acceptor else bytearray()
    assoc.dimse = Messages(assoc, limits, sink)
    assoc._serve_request = partial(_serve, assoc, assoc._serve_request)
    if assoc.is_acceptor:
        assoc.run = partial(_run, assoc, assoc.run)
        assoc.dul.run = partial(_run, assoc, assoc.dul.run)
    else:  # its thread is running already
        machine = assoc.dul.state_machine
        machine.do_action = partial(_act, assoc, machine.do_action)


def _run(assoc: Any, run: Callable[[], None]) -> None:
    """A thread of an association, to its end: a PDU that it fails on ends the connection, and leaves nothing open."""
    try:
        run()
    except Exception as error:
        _log.warning("association ended", extra={"why": log.kind_of(error)})
    finally:
        cut(assoc)
        assoc.dimse.close()


def _act(assoc: Any, act: Callable[[str], None], event: str) -> None:
    """One step of an association of ours: a PDU that it fails on ends it at once."""
    try:
        act(event)
    except Exception as error:
        _log.warning("association ended", extra={"why": log.kind_of(error)})
        assoc.is_aborted, assoc.is_established = True, False
        cut(assoc)
        assoc.dul.kill_dul()


def _serve(assoc: Any, serve: Callable[[Any, int], None], message: Any, context_id: int) -> None:
    """A request of the peer. Reports have threads of their own, which outlive their association: few at a time."""
    if not isinstance(message, N_EVENT_REPORT):
        serve(message, context_id)
    elif _REPORTING.acquire(blocking=False):
        try:
            serve.__func__(_Beside(assoc), message, context_id)  # type: ignore[attr-defined]  # a bound method
        finally:
            _REPORTING.release()
    else:
        cut(assoc)


class _Beside:
    """An association as the thread of a report sees it, which marks nothing in it.

    pynetdicom marks the association's own thread as paused around each request, and as not paused after it. From
    another thread that makes whoever waits for the pause (to release the association, say) wait for ever.
    """

    def __init__(self, assoc: Any) -> None:
        object.__setattr__(self, "_assoc", assoc)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._assoc, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "_is_paused":
            setattr(self._assoc, name, value)


class _Socket(AssociationSocket):  # type: ignore[misc]  # pynetdicom's types are not read
    """The reading and writing of one connection, within limits."""

    limits: Limits
    first: bytearray  # what was read before the association was made
    _deadline = 0.0
    _pdu_type = 0  # of the PDU in hand, whose body is next; 0: a header is next

    @property
    def ready(self) -> bool:
        """Whether there is something to read. (`select`, as pynetdicom does it, fails from descriptor 1024 on.)"""
        if self.socket is None or not self._is_connected:
            return False
        if self.first or getattr(self.socket, "pending", int)():  # a TLS socket may have read ahead
            return True
        waiting = select.poll()
        try:
            waiting.register(self.socket, select.POLLIN)
            return bool(waiting.poll(0))
        except (OSError, ValueError):  # closed
            self.event_queue.put("Evt17")  # PS3.8 9.2.2: transport connection closed
            return False

    def recv(self, nr_bytes: int) -> bytearray:
        """So many bytes, fewer at the end of the connection. Raises OSError: too long, too slow."""
        if not self._pdu_type:
            self._deadline = time.monotonic() + self.limits.pdu_s
            header = self._receive(HEADER)
            if len(header) == HEADER:
                self._pdu_type = header[0]
                if self._pdu_type not in _KNOWN_PDUS:  # pynetdicom would take what follows for a header
                    raise ConnectionAbortedError(f"PDU type {self._pdu_type}")
            return header
        pdu_type, self._pdu_type = self._pdu_type, 0
        if nr_bytes > most_bytes(pdu_type):
            raise ConnectionAbortedError(f"a PDU of {nr_bytes} bytes, at most {most_bytes(pdu_type)} are taken")
        body = self._receive(nr_bytes)
        if pdu_type == _P_DATA and _fragments(body) > _MOST_FRAGMENTS:
            raise ConnectionAbortedError(f"a PDU of more than {_MOST_FRAGMENTS} fragments")
        self.assoc.dimse.progress_at = time.monotonic()
        return body

    def _receive(self, length: int) -> bytearray:
        if self.first:
            received, self.first = self.first[:length], self.first[length:]
            return received
        connection = self.socket
        if connection is None:
            raise ConnectionAbortedError("closed")
        return receive(connection, length, self._deadline)

    def send(self, bytestream: bytes) -> None:
        """Write a PDU, or give up: a peer that stops reading is gone."""
        deadline = time.monotonic() + self.limits.idle_s
        try:
            view = memoryview(bytestream)
            while view:
                self.socket.settimeout(_left(deadline))
                view = view[self.socket.send(view) :]
            evt.trigger(self.assoc, evt.EVT_DATA_SENT, {"data": bytestream})
        except (OSError, AttributeError):  # broken, too slow, or closed meanwhile
            self.event_queue.put("Evt17")

    def _shutdown_socket(self) -> None:
        """Close it in any case: pynetdicom leaves it open when the peer was first."""
        connection = self.socket
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def _fragments(body: bytearray) -> int:
    """How many presentation data values a P-DATA-TF holds (PS3.8 9.3.5), as far as it matters."""
    at, count = 0, 0
    while at < len(body) and count <= _MOST_FRAGMENTS:
        at += 4 + int.from_bytes(body[at : at + 4])
        count += 1
    return count


class Bounded(BytesIO):
    """Memory for one data set, or a command; too much of it ends the association."""

    def __init__(self, assoc: Any, message: DIMSEMessage, most: int = _MOST_OTHER_DATA) -> None:
        super().__init__()
        self.assoc, self.message, self._most = assoc, message, most

    def write(self, data: Any, /) -> int:
        """Add a fragment."""
        if self.tell() + len(data) > self._most:
            cut(self.assoc)
            return len(data)
        return super().write(data)

    @property
    def is_open(self) -> bool:
        """Whether dropping it matters."""
        return False

    def drop(self) -> None:
        """Nobody will look at it."""


class Messages(DIMSEServiceProvider):  # type: ignore[misc]  # pynetdicom's types are not read
    """Collects the fragments of messages, within bounds."""

    def __init__(self, assoc: Any, limits: Limits, sink: Sink) -> None:
        super().__init__(assoc)
        self.message: DIMSEMessage | None = None
        self._limits, self._sink = limits, sink
        self._started, self._bytes, self._reports = 0.0, 0, 0
        self._open: list[Bounded] = []  # data sets that nobody has looked at yet
        self.asked_id = 0  # the Message ID of our last request
        self._answers: list[Any] = []  # to it: the first of another request, and the last
        self.progress_at = time.monotonic()  # when a whole PDU was last read
        self.serving = False  # one of our handlers is at work for the peer
        self.asking = False  # an answer, or many, to a request of ours is awaited

    @property
    def is_idle(self) -> bool:
        """Whether the peer owes us nothing and we owe it nothing."""
        return self.message is None and self.msg_queue.empty() and not self.serving

    def get_msg(self, block: bool = False) -> tuple[int | None, Any]:
        """The next message, or nothing.

        While an answer to us is awaited, only who waits for it gets it: pynetdicom's own loop, which never waits, runs
        once more when one request follows another at once, and would take the answer and drop it.
        """
        if self.asking and not block:
            return None, None
        message: tuple[int | None, Any] = super().get_msg(block)
        if self.asking and message[1] is not None:
            self._answers = [*(answer for answer in self._answers if self._is_of_another(answer)), message[1]]
        return message

    def ask(self) -> None:
        """A request of ours follows, with a Message ID that was not used for a long time (PS3.7 9.3)."""
        self.asked_id = self.asked_id % _MOST_MESSAGES + 1
        self._answers, self.asking = [], True

    def why_no_answer(self, kind: type, sop_instance_uid: str) -> str:
        """What is wrong with what came after `ask`, or nothing."""
        for answer in self._answers:
            if type(answer) is not kind or self._is_of_another(answer):
                return f"{type(answer).__name__} is no answer to {kind.__name__} {self.asked_id}"
            about = getattr(answer, "AffectedSOPInstanceUID", None)
            if sop_instance_uid and about and about != sop_instance_uid:
                return "an answer about another SOP instance"
        return ""

    def _is_of_another(self, answer: Any) -> bool:
        return getattr(answer, "MessageIDBeingRespondedTo", None) != self.asked_id

    def receive_primitive(self, primitive: Any) -> None:
        """One P-DATA of the message in hand."""
        if self.message is None:
            self._started, self._bytes = time.monotonic(), 0
            self.message = message = DIMSEMessage()
            message.encoded_command_set = Bounded(self.assoc, message, _MOST_COMMAND)
            message.data_set = self._sink(self.assoc, message)
            self._open = [*(data_set for data_set in self._open if data_set.is_open), message.data_set]
        message = self.message
        self._bytes += sum(len(data) for _, data in primitive.presentation_data_value_list)
        took_s = time.monotonic() - self._started
        too_slow = took_s > self._limits.pdu_s + self._bytes / _SLOWEST
        if too_slow or not self._have_room() or self._reports > _MOST_REPORTS:
            cut(self.assoc)
            return
        super().receive_primitive(primitive)
        self._reports += self.message is None and isinstance(message, N_EVENT_REPORT_RQ)

    def _have_room(self) -> bool:
        """Whether another message may wait; answers that we have asked for are read as fast as they are looked at."""
        deadline = time.monotonic() + self._limits.idle_s
        while self.asking and self.msg_queue.qsize() > _MOST_WAITING and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        return bool(self.msg_queue.qsize() <= _MOST_WAITING)

    def close(self) -> None:
        """The connection is gone: what was not looked at leaves nothing behind."""
        for data_set in self._open:
            data_set.drop()
        self._open = []
