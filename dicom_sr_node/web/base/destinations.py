"""Peers and archives: how each fares, and trying one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dicom_sr_node.actions.actor import Actor
from dicom_sr_node.deliver.destinations import table
from dicom_sr_node.domain.diagnosis import Diagnosis
from dicom_sr_node.runtime.throttle import turn
from dicom_sr_node.web.base.context import AppContext


@dataclass(frozen=True)
class DestinationStatus:
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


def ls(context: AppContext, seen: Mapping[str, float]) -> list[DestinationStatus]:
    """All of them. seen: AE title -> seconds since its last image."""
    fares, took = context.store.destinations.ls(), context.store.search.last_deliveries()
    statuses = []
    for name, way in table.destinations(context.settings).items():
        about, fare = way.describe(), fares.get(name, {})
        statuses.append(
            DestinationStatus(
                name,
                about.ae_title,
                about.place,
                about.may,
                about.commitment,
                seen.get(about.ae_title) if about.ae_title else None,
                took.get(name),
                fare.get("failures", 0),
                fare.get("reason", ""),
            )
        )
    return statuses


def check(context: AppContext, actor: Actor, name: str) -> list[Diagnosis]:
    """What `doctor` finds of one. Raises NotFound, Busy."""
    with turn(context.trying):
        diagnoses = list(table.destination(context.settings, name).check(context.store.commitments))
    context.note(actor.name, actor.address, f"tried {name}")
    return diagnoses
