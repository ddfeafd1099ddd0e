"""Who may call, and for what.

In the clear: this machine always, so that everything can be tried; from elsewhere a peer whose AE title and address
stand in `[peers]`. Over TLS nobody is let in by address alone: the certificate must be that of the peer whose title is
used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dicom_sr_node.config.destinations import Peer
from dicom_sr_node.network import tls
from dicom_sr_node.network.addresses import addresses_of, is_from, is_loopback

UNKNOWN = "unknown AE title"
OTHER_ADDRESS = "AE title from another address"
NOT_ALLOWED = "not allowed to do anything here"
NO_TLS = "must use TLS"
NO_TLS_HERE = "is not set up for TLS"
OTHER_CERTIFICATE = "the certificate of somebody else"
OTHER_CALLED = "asks for another AE title than ours"


@dataclass(frozen=True)
class Authorisation:
    """On a caller: whether it may associate, why not, and whether it may store."""

    may_call: bool
    may_store: bool
    why: str = ""


def authorise(
    ae_title: str, address: str, connection: Any, peers: Mapping[str, Peer], *, known_only: bool
) -> Authorisation:
    """address and connection are those of the socket, never what the caller says of itself."""
    named = [peer for peer in peers.values() if peer.ae_title == ae_title]
    over_tls = tls.is_tls(connection)
    if over_tls and named:
        if not any(peer.tls for peer in named):
            return Authorisation(False, False, NO_TLS_HERE)
        named = [peer for peer in named if peer.tls and tls.is_certificate_of(connection, peer)]
        if not named:
            return Authorisation(False, False, OTHER_CERTIFICATE)
    elif named and all(peer.tls for peer in named):
        return Authorisation(False, False, NO_TLS)
    if not known_only or (is_loopback(address) and not over_tls):
        return Authorisation(True, True)
    if not named:
        return Authorisation(False, False, UNKNOWN)
    here = [peer for peer in named if is_from(address, peer)]
    if not here:
        return Authorisation(False, False, OTHER_ADDRESS)
    may_store = any("store" in peer.allow for peer in here)
    may_call = may_store or any("echo" in peer.allow or peer.commitment != "off" for peer in here)
    return Authorisation(may_call, may_store, "" if may_call else NOT_ALLOWED)


def line_to_add(calling_ae: str, address: str, why: str, peers: Mapping[str, Peer]) -> str:
    """The lines of configuration that would let a refused caller in; nothing where that is no question of `[peers]`."""
    if why not in (UNKNOWN, OTHER_ADDRESS):
        return ""
    known = next((name for name, peer in peers.items() if peer.ae_title == calling_ae), None)
    if known and why == OTHER_ADDRESS:
        there = peers[known].addresses or sorted(addresses_of(peers[known].host))
        return f"# in [peers.{known}]:\naddresses = {json.dumps([*there, address])}"
    if known or not calling_ae:
        return ""
    title = calling_ae if calling_ae.isprintable() and not set(calling_ae) & set('"\\') else ""
    name = "".join(c for c in title if c.isascii() and (c.isalnum() or c in "_-")) or "NAME"
    name += "_2" * (name in peers)
    return f'[peers.{name}]\nae_title = "{title}"\nhost = "{address}"\nallow = ["store"]'
