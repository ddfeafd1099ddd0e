"""Connections of browsers and programs: each must keep moving, and an address has only so many of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_PER_ADDRESS = 40  # a browser opens six
MOST = 160  # in all: then one that waits for nothing makes room for who comes
LOOK_S = 5.0
_LOOKS = 3  # in a row without a whole request, or with too few bytes of a body
_SLOWEST = 10_000  # bytes of a body in a second


class ThrottledConnection(H11Protocol):
    """uvicorn's, which by itself waits for ever for a request and for its body."""

    unlimited: Sequence[str] = ()  # addresses of proxies: everybody comes from there

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Closed at once where its address has too many; another one where all have too many."""
        super().connection_made(transport)
        self._waits, self._bytes = 0, 0
        self._seen: object = None  # the request of the last look
        self._moved_at = self.loop.time()
        counts = Counter(map(_address, self.connections))
        if counts[address := _address(self)] > MOST_PER_ADDRESS and address not in self.unlimited:
            transport.abort()
            return
        if len(self.connections) > MOST:
            self._make_room(counts)
        self.loop.call_later(LOOK_S, self._look)

    def data_received(self, data: bytes) -> None:
        """Part of a request."""
        self._bytes += len(data)
        self._moved_at = self.loop.time()
        super().data_received(data)

    def _make_room(self, counts: Counter[str]) -> None:
        """The connection that has been silent longest goes, of the address that has most; if none is, the new one."""
        silent = [one for one in self.connections if isinstance(one, ThrottledConnection) and one.is_silent]
        victim = min(silent, key=lambda one: (-counts[_address(one)], one._moved_at), default=self)
        victim.transport.abort()
        self.connections.discard(victim)  # uvicorn hears of it later

    @property
    def is_silent(self) -> bool:
        """Whether nothing is asked or answered on it."""
        return self.cycle is None or self.cycle.response_complete

    def _look(self) -> None:
        if self.transport.is_closing():
            return
        is_asking = self.cycle is None or (self.cycle.response_complete and self.cycle is self._seen)
        is_slow = self.conn.their_state is h11.SEND_BODY and not self.flow.read_paused
        stuck = is_asking or (is_slow and self._bytes < _SLOWEST * LOOK_S)
        self._waits, self._bytes, self._seen = self._waits + 1 if stuck else 0, 0, self.cycle
        if self._waits >= _LOOKS:
            self.transport.abort()
        else:
            self.loop.call_later(LOOK_S, self._look)


def _address(connection: object) -> str:
    client = getattr(connection, "client", None)
    return client[0] if client else ""
