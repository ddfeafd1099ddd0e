"""The kinds of destinations: which class serves which section of the configuration."""

from __future__ import annotations

from typing import Any

from dicom_sr_node.config.destinations import DestinationSection, Dicomweb, Peer
from dicom_sr_node.config.settings import Settings
from dicom_sr_node.deliver.destinations.base import Destination, Surroundings
from dicom_sr_node.deliver.destinations.dimse import Dimse
from dicom_sr_node.deliver.destinations.folder import Folder, FolderSection
from dicom_sr_node.deliver.destinations.stow import StowRs
from dicom_sr_node.domain.errors import NotFound
from dicom_sr_node.domain.records import FOLDER
from dicom_sr_node.network.local_entity import LocalEntity

DESTINATIONS: dict[type[DestinationSection], Any] = {  # section -> its Destination, made of (name, section, node)
    Peer: Dimse,
    Dicomweb: StowRs,
    FolderSection: Folder,
}


def destination(settings: Settings, name: str) -> Destination:
    """The destination of a name. Raises NotFound where the configuration has none."""
    section = FolderSection() if name == FOLDER else settings.ways_out.get(name)
    if section is None:
        known = ", ".join(settings.ways_out) or "none"
        raise NotFound(f"no peer {name!r} in the configuration; known peers: {known}")
    opened: Destination = DESTINATIONS[type(section)](name, section, surroundings(settings))
    return opened


def destinations(settings: Settings) -> dict[str, Destination]:
    """All that are configured, by name; without the folder."""
    return {name: destination(settings, name) for name in settings.ways_out}


def surroundings(settings: Settings) -> Surroundings:
    """What destinations may use of this node."""
    return Surroundings(local_entity(settings), settings.node.out_dir, settings.retention.undelivered_s)


def local_entity(settings: Settings) -> LocalEntity:
    """Who we are to those we call."""
    return LocalEntity(settings.node.ae_title, settings.delivery, settings.tls)
