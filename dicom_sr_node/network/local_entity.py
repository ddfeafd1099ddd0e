"""What this node is to those it calls: its title, its patience, its certificate."""

from __future__ import annotations

from dataclasses import dataclass

from dicom_sr_node.config.delivering import DeliverySettings
from dicom_sr_node.config.receiving import TlsSettings


@dataclass(frozen=True)
class LocalEntity:
    """The local application entity, as SCU of whatever service."""

    ae_title: str
    timeouts: DeliverySettings
    tls: TlsSettings
