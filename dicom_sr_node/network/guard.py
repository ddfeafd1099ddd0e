"""What keeps a silent or slow peer from holding the node: deadlines on the socket of every association, in and out.

pynetdicom sets no timeout on accepted sockets and waits for ever for the rest of a PDU; the hook below does.
"""

from __future__ import annotations

import socket
from typing import Any

from pynetdicom import evt

MAX_PDU_BYTES = 131_072  # what dcmtk sends at most; larger ones cost less each


def handler(timeout_s: float) -> tuple[Any, ...]:
    """An event handler for `evt_handlers`: no read or write of the association may take longer."""
    return (evt.EVT_CONN_OPEN, _limit, [timeout_s])


def _limit(event: evt.Event, timeout_s: float) -> None:
    wrapper = event.assoc.dul.socket
    if wrapper is not None and wrapper.socket is not None:
        wrapper.socket.settimeout(timeout_s)
        wrapper.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # Nagle costs 50 ms for each C-STORE
