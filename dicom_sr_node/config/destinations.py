"""Where results go: one kind of section for each way out.

What a section says is a matter of the configuration; how things are sent is in `deliver/destinations`. Loading, checks,
reference and rules read the table `SECTIONS` only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from dicom_sr_node.config.types import AETitle, Fingerprint, Name, Network, Port, Section


def _without_password(url: str) -> str:
    if "@" in urlsplit(url).netloc:
        raise ValueError("a name or a password does not belong into an address: use token_file or mutual_tls")
    return url


class DestinationSection(Section):
    """What all kinds have in common."""

    example_name: ClassVar[str] = "NAME"  # in the example of a configuration

    def tls_needed(self, name: str) -> str:
        """Why the section of this name needs [tls], or nothing."""
        return ""


class Peer(DestinationSection):
    """A remote application entity. Its name is yours; rules and commands use it."""

    example_name: ClassVar[str] = "PACS"

    ae_title: Annotated[AETitle, Field(examples=["ORTHANC"])]
    """Its AE title."""
    host: Annotated[Name, Field(examples=["127.0.0.1"])]
    """Its name or address."""
    port: Annotated[Port, Field(examples=[4242])] = 104
    """Where it listens."""
    allow: Annotated[tuple[Literal["echo", "store"], ...], Field(examples=[["store"]])] = ()
    """What it may do to us."""
    addresses: Annotated[tuple[Network, ...], Field(examples=[["10.1.0.0/16"]])] = ()
    """Where it may call from; its host if there is none."""
    tls: bool = False
    """Both ways; its certificate must name its host ..."""
    certificate_sha256: Fingerprint = ""
    """... or have this fingerprint."""
    commitment: Literal["required", "optional", "off"] = "optional"
    """Storage commitment: "required" to be done, "optional" (asked for if offered), "off"."""
    compression: Literal["jpeg-ls", "none"] = "jpeg-ls"
    """Lossless, if it accepts that; "none" sends uncompressed."""
    silent_after_h: Annotated[Annotated[float, Field(gt=0, allow_inf_nan=False)] | None, Field(examples=[24])] = None
    """An alarm when nothing came from it for so long; never if there is none."""

    def tls_needed(self, name: str) -> str:
        """Both sides show a certificate."""
        return f"peer {name!r} speaks TLS" if self.tls else ""


class Dicomweb(DestinationSection):
    """An archive that takes results by STOW-RS. Rules send to it by its name, as to a peer."""

    example_name: ClassVar[str] = "CLOUD"

    url: Annotated[
        str,
        AfterValidator(_without_password),
        Field(pattern=r"^https?://[^\s]+$", examples=["https://archive.example/dicom-web"]),
    ]
    """Its DICOMweb service; tls.authorities says whose certificate is good."""
    token_file: Annotated[Path | None, Field(examples=["cloud.token"])] = None
    """Sent as Authorization: Bearer; only the node's user should be able to read it."""
    mutual_tls: bool = False
    """true: show tls.certificate."""
    compression: Literal["jpeg-ls", "none"] = "none"
    """Of what is sent: lossless, or "none"."""

    def tls_needed(self, name: str) -> str:
        """Only where this node shows a certificate of its own."""
        return f"dicomweb.{name}.mutual_tls shows a certificate" if self.mutual_tls else ""


SECTIONS: dict[str, type[DestinationSection]] = {  # by the name of their table in the configuration
    "peers": Peer,
    "dicomweb": Dicomweb,
}
