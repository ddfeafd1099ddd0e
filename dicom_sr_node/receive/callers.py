"""Who may send.

Loopback always; from elsewhere a peer whose AE title and address stand in `[peers]` with `allow = ["store"]`.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping

from dicom_sr_node.settings import Peer


def may_send(ae_title: str, address: str, peers: Mapping[str, Peer]) -> bool:
    """Whether a caller is known. The address is that of the connection, never one that the caller names."""
    if _is_loopback(address):
        return True
    return any(
        peer.ae_title == ae_title and "store" in peer.allow and address in addresses_of(peer.host)
        for peer in peers.values()
    )


def addresses_of(host: str) -> set[str]:
    """The addresses of a host name now; none if it cannot be resolved."""
    try:
        return {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return set()


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
