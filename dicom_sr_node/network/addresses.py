"""Addresses of callers and hosts."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

from dicom_sr_node.config.destinations import Peer


def is_from(address: str, peer: Peer) -> bool:
    """Whether a peer calls from this address: its `addresses`, else those of its host now."""
    if peer.addresses:
        return any(ipaddress.ip_address(address) in ipaddress.ip_network(network) for network in peer.addresses)
    return address in addresses_of(peer.host)


def peer_of(ae_title: str, address: str, peers: Mapping[str, Peer]) -> str | None:
    """The name of the peer that has called; of several with one title the one that calls from this address."""
    named = [name for name, peer in peers.items() if peer.ae_title == ae_title]
    if len(named) > 1:
        named = [name for name in named if is_from(address, peers[name])]
    return named[0] if named else None


def addresses_of(host: str) -> set[str]:
    """The addresses of a host name now; none if it cannot be resolved."""
    try:
        return {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return set()


def is_loopback(address: str) -> bool:
    """Whether a caller is on this machine."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def without_secrets(url: str) -> str:
    """A URL for messages: where it leads, without names, passwords and what is asked there."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", "")) if host else parts.path
