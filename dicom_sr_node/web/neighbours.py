"""Peers and archives: how each fares, and trying one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dicom_sr_node import doctor
from dicom_sr_node.store.accounts import Person
from dicom_sr_node.web.desk import Desk
from dicom_sr_node.web.throttle import turn


@dataclass(frozen=True)
class Neighbour:
    """A peer, or an archive that speaks DICOMweb (it has no AE title and sends nothing)."""

    name: str
    ae_title: str
    place: str
    may: str
    commitment: str
    seen_s_ago: float | None  # since its last image
    took_s_ago: float | None  # since it took a result
    failures: int  # tries in a row
    reason: str


def ls(desk: Desk, seen: Mapping[str, float]) -> list[Neighbour]:
    """All of them. seen: AE title -> seconds since its last image."""
    fares, took = desk.store.destinations.ls(), desk.store.search.last_deliveries()

    def fared(name: str) -> tuple[float | None, int, str]:
        fare = fares.get(name, {})
        return took.get(name), fare.get("failures", 0), fare.get("reason", "")

    peers = [
        Neighbour(
            name,
            peer.ae_title,
            f"{peer.host}:{peer.port}{', TLS' if peer.tls else ''}",
            ", ".join(peer.allow) or "nothing",
            peer.commitment,
            seen.get(peer.ae_title),
            *fared(name),
        )
        for name, peer in desk.settings.peers.items()
    ]
    archives = [
        Neighbour(name, "", archive.url, "nothing", "", None, *fared(name))
        for name, archive in desk.settings.dicomweb.items()
    ]
    return peers + archives


def tried(desk: Desk, person: Person, address: str, name: str) -> list[doctor.Check]:
    """What the doctor finds. Raises NotFound, Busy."""
    with turn(desk.trying):
        checks = list(doctor.examine_destination(desk.settings, desk.store, name))
    desk.note(person.name, address, f"tried {name}")
    return checks
