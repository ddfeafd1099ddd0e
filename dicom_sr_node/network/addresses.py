"""Addresses of callers and hosts."""

from __future__ import annotations

import ipaddress
import socket

from dicom_sr_node.config.destinations import Peer


def is_from(address: str, peer: Peer) -> bool:
    """Whether a peer calls from this address: its `addresses`, else those of its host now."""
    if peer.addresses:
        return any(ipaddress.ip_address(address) in ipaddress.ip_network(network) for network in peer.addresses)
    return address in addresses_of(peer.host)


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
