"""Telling systemd how the service is (sd_notify(3)); nothing where nobody asked."""

from __future__ import annotations

import os
import socket

READY, STOPPING = "READY=1", "STOPPING=1"
RELOADING = "RELOADING=1"


def sd_notify(state: str) -> None:
    """One datagram to $NOTIFY_SOCKET; a path, or an abstract name that begins with @."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as way:
        try:
            way.sendto(state.encode(), f"\0{address[1:]}" if address.startswith("@") else address)
        except OSError:  # who started us does not listen any more
            return
