"""What comes in: the listener, TLS, the watched folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from dicom_sr_node.config.types import Count, Name, Port, Seconds, Section


class ScpSettings(Section):
    """What the node accepts."""

    host: Name = "127.0.0.1"
    """The address to listen on; "0.0.0.0" for all of this machine."""
    port: Port = 11112
    """104 needs more rights."""
    max_associations: Count = 32
    """At the same time."""
    max_per_address: Count = 16
    """Of these from one address."""
    max_object_mb: Count = 512
    """A larger object is cut off while it comes in."""
    plain: bool = True
    """false: only TLS, see [tls]."""
    require_called_ae_title: bool = True
    """Refuse callers that ask for a title that is neither node.ae_title nor in a match.called_ae."""
    require_known_callers: bool = True
    """Refuse callers that are neither on this machine nor a peer that may store."""
    accept: Literal["all", "radiographs"] = "all"
    """"all" storage classes, so that a whole study can be forwarded; or "radiographs"."""
    idle_timeout_s: Seconds = 60
    """A peer that is silent for longer is cut off."""
    pdu_timeout_s: Seconds = 30
    """For one PDU from its first byte to its last; some 100 kB."""


class TlsSettings(Section):
    """DICOM over TLS, in and out (PS3.15 B.12). Without a certificate there is none."""

    certificate: Annotated[Path | None, Field(examples=["node.crt"])] = None
    """PEM, with the chain. The port below is only opened if this is set."""
    private_key: Annotated[Path | None, Field(examples=["node.key"])] = None
    """PEM."""
    authorities: Annotated[Path | None, Field(examples=["ca.crt"])] = None
    """PEM: who signs the certificates of peers."""
    port: Port = 2762
    """Where it listens; plain DICOM has scp.port."""

    @model_validator(mode="after")
    def _whole(self) -> TlsSettings:
        given = [key for key in ("certificate", "private_key", "authorities") if getattr(self, key)]
        if given and len(given) < 3:
            raise ValueError("certificate, private_key and authorities belong together: each side proves who it is")
        return self


class WatchSettings(Section):
    """A folder whose files are taken as if they had been sent."""

    folder: Annotated[Path | None, Field(examples=["/srv/incoming"])] = None
    """Where they are put; they are removed once they are safe. For rules they come from WATCHED_FOLDER."""
