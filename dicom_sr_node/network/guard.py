"""What keeps a silent, slow or endless peer from holding the node, on associations in and out.

pynetdicom sets no timeout on accepted sockets, waits for ever for the rest of a PDU, believes every length that it is
told, and collects a message in memory without an end. `handlers` bounds each of these through its public hooks: the
event that a connection is open, and the two objects that an association reads and collects with.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from pynetdicom import evt
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import DIMSEMessage

MAX_PDU_BYTES = 131_072  # what dcmtk sends at most; larger ones cost less each
_P_DATA, _ASSOCIATE = 0x04, (0x01, 0x02)
_MOST_P_DATA = 1 << 20  # bytes: some peers send more than what we said we take
_MOST_ASSOCIATE = 1 << 18  # 128 contexts with all transfer syntaxes are 100 kB
_MOST_OTHER = 1 << 8  # rejection, release, abort: 4 bytes
_MOST_COMMAND = 1 << 16
_MOST_OTHER_DATA = 1 << 22  # a data set that is no image: the references of a storage commitment
_MOST_WAITING = 2  # messages that a peer may send ahead of our answers
HEADER = 6  # bytes of type and length, PS3.8 9.3.1
_SLOWEST = 4096  # bytes per second of a message that takes longer than one PDU may


@dataclass(frozen=True)
class Limits:
    """Seconds. idle: between two PDUs and for each write; pdu: from a PDU's first byte to its last."""

    idle_s: float
    pdu_s: float


Sink = Callable[[Any, DIMSEMessage], BytesIO]


def handlers(limits: Limits, sink: Sink | None = None) -> list[tuple[Any, ...]]:
    """For `evt_handlers`. sink: makes what the data set of each message is written to; None: bounded memory."""
    return [(evt.EVT_CONN_OPEN, _watch, [limits, sink or Bounded])]


def cut(assoc: Any) -> None:
    """End a connection from within, without a word: what the peer sends cannot be trusted any more."""
    wrapper = assoc.dul.socket
    if wrapper is not None and wrapper.socket is not None:
        wrapper.close()


def _watch(event: evt.Event, limits: Limits, sink: Sink) -> None:
    assoc = event.assoc
    wrapper = assoc.dul.socket
    if wrapper is None or wrapper.socket is None:
        return
    set_options(wrapper.socket, limits)
    assoc.dimse = Messages(assoc, limits, sink)
    reader = _Reader(assoc, limits)
    wrapper.recv, wrapper.send = reader.recv, reader.send


def set_options(connection: socket.socket, limits: Limits) -> None:
    """Deadlines that the kernel keeps, and no waiting for more to send."""
    connection.settimeout(limits.idle_s)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # Nagle costs 50 ms for each C-STORE
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(limits.idle_s * 1000))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


class _Reader:
    """The reading and writing of one connection."""

    def __init__(self, assoc: Any, limits: Limits) -> None:
        self._assoc, self._limits = assoc, limits
        self._deadline = 0.0
        self._most = 0  # bytes that the body of the PDU in hand may have; 0: a header is next

    def recv(self, wanted: int) -> bytearray:
        """So many bytes, fewer at the end of the connection. Raises OSError: too long, too slow."""
        if not self._most:
            self._deadline = time.monotonic() + self._limits.pdu_s
            header = self._read(wanted)
            self._most = most_bytes(header[0]) if len(header) == HEADER else 0
            return header
        most, self._most = self._most, 0
        if wanted > most:
            raise ConnectionAbortedError(f"a PDU of {wanted} bytes, at most {most} are taken")
        body = self._read(wanted)
        self._assoc.dimse.progress_at = time.monotonic()
        return body

    def _read(self, wanted: int) -> bytearray:
        connection = self._assoc.dul.socket.socket
        found = bytearray(wanted)
        view, have = memoryview(found), 0
        while have < wanted:
            connection.settimeout(self._left())
            count = connection.recv_into(view[have:])
            if not count:
                break
            have += count
        view.release()
        del found[have:]
        return found

    def send(self, data: bytes) -> None:
        """Write a PDU, or give up: a peer that stops reading is gone."""
        wrapper = self._assoc.dul.socket
        self._deadline = time.monotonic() + self._limits.idle_s
        try:
            view = memoryview(data)
            while view:
                wrapper.socket.settimeout(self._left())
                view = view[wrapper.socket.send(view) :]
            evt.trigger(self._assoc, evt.EVT_DATA_SENT, {"data": data})
        except (OSError, AttributeError):  # broken, too slow, or closed meanwhile
            wrapper.event_queue.put("Evt17")  # PS3.8 9.2.2: transport connection closed

    def _left(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the peer is too slow")
        return left


def most_bytes(pdu_type: int) -> int:
    """How long the body of a PDU may be (PS3.8 9.3)."""
    if pdu_type == _P_DATA:
        return _MOST_P_DATA
    return _MOST_ASSOCIATE if pdu_type in _ASSOCIATE else _MOST_OTHER


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


class Messages(DIMSEServiceProvider):  # type: ignore[misc]  # pynetdicom's types are not read
    """Collects the fragments of messages, within bounds."""

    def __init__(self, assoc: Any, limits: Limits, sink: Sink) -> None:
        super().__init__(assoc)
        self.message: DIMSEMessage | None = None
        self._limits, self._sink = limits, sink
        self._started, self._bytes = 0.0, 0
        self.progress_at = time.monotonic()  # when a whole PDU was last read
        self.serving = False  # one of our handlers is at work for the peer

    @property
    def is_idle(self) -> bool:
        """Whether the peer owes us nothing and we owe it nothing."""
        return self.message is None and self.msg_queue.empty() and not self.serving

    def receive_primitive(self, primitive: Any) -> None:
        """One P-DATA of the message in hand."""
        if self.message is None:
            self._started, self._bytes = time.monotonic(), 0
            self.message = message = DIMSEMessage()
            message.encoded_command_set = Bounded(self.assoc, message, _MOST_COMMAND)
            message.data_set = self._sink(self.assoc, message)
        self._bytes += sum(len(data) for _, data in primitive.presentation_data_value_list)
        took_s = time.monotonic() - self._started
        if took_s > self._limits.pdu_s + self._bytes / _SLOWEST or self.msg_queue.qsize() > _MOST_WAITING:
            cut(self.assoc)
            return
        super().receive_primitive(primitive)
