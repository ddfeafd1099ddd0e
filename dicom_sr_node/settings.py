"""The configuration as frozen types. The strings below the keys are their documentation: `reference.py` prints them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from dicom_sr_node.records import FOLDER


def _ae_title(value: str) -> str:
    """PS3.5 6.2, VR AE: at most 16 characters of the default repertoire, no backslash, not only spaces."""
    title = value.strip()
    if not 1 <= len(title) <= 16 or not title.isascii() or not title.isprintable() or "\\" in title:
        raise ValueError("an AE title has 1 to 16 ASCII characters and no backslash")
    return title


AETitle = Annotated[str, AfterValidator(_ae_title)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
Label = Literal["burned", "overlay", "none"]
Scale = Literal["auto", 2, 4]
_DAY_S = 86_400.0
Days = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _window(value: str) -> str:
    """HH:MM-HH:MM, or nothing."""
    if value and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d", value):
        raise ValueError('a window is "HH:MM-HH:MM", as "19:00-06:00"')
    return value


Window = Annotated[str, AfterValidator(_window)]


def _network(value: str) -> str:
    ipaddress.ip_network(value)
    return value


def _address(value: str) -> str:
    return str(ipaddress.ip_address(value))


Network = Annotated[str, AfterValidator(_network)]
Fingerprint = Annotated[
    str, AfterValidator(lambda value: value.replace(":", "").lower()), Field(pattern="^([0-9a-fA-F:]{64,95})?$")
]


class Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, use_attribute_docstrings=True)


class Node(Frozen):
    """Who this node is and where its data lies."""

    ae_title: AETitle = "SRNODE"
    """What modalities and the PACS call this node."""
    data_dir: Path = Path("var")
    """Database, received images and results: back it up. One node for each folder."""
    spool_dir: Annotated[Path | None, Field(examples=["/srv/spool"])] = None
    """Images and results elsewhere than in data_dir: a folder that several machines share."""

    @property
    def spool(self) -> Path:
        """Where images and results lie."""
        return self.spool_dir or self.data_dir / "spool"


class Scp(Frozen):
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


class Watch(Frozen):
    """A folder whose files are taken as if they had been sent."""

    folder: Annotated[Path | None, Field(examples=["/srv/incoming"])] = None
    """Where they are put; they are removed once they are safe. For rules they come from WATCHED_FOLDER."""


class Tls(Frozen):
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
    def _whole(self) -> Tls:
        given = [key for key in ("certificate", "private_key", "authorities") if getattr(self, key)]
        if given and len(given) < 3:
            raise ValueError("certificate, private_key and authorities belong together: each side proves who it is")
        return self


class Disk(Frozen):
    """How full the disk may become."""

    reserve_mb: Annotated[int, Field(ge=0)] = 5120
    """With less space than this (or than 10 % of a small disk) nothing more is taken."""


class Retention(Frozen):
    """How long files stay: they are removed so long ..."""

    delivered_days: Days = 30
    """... after everything was delivered, and committed to where that is asked for."""
    skipped_days: Days = 7
    """... after an image was skipped."""
    undelivered_days: Days = 30
    """A result that no peer took for so long is dead: nothing is removed, somebody must look."""

    @property
    def delivered_s(self) -> float:
        """In seconds, as all that the code counts in."""
        return self.delivered_days * _DAY_S

    @property
    def skipped_s(self) -> float:
        """In seconds."""
        return self.skipped_days * _DAY_S

    @property
    def undelivered_s(self) -> float:
        """In seconds."""
        return self.undelivered_days * _DAY_S


class Audit(Frozen):
    """Where the audit trail (PS3.15 A.5) goes."""

    to: Literal["off", "file", "syslog"] = "off"
    """"file" (data_dir/audit.log) or "syslog" over TLS. The trail names patients."""
    host: str = ""
    """The collector."""
    port: Port = 6514
    """Where the collector listens."""

    @model_validator(mode="after")
    def _reachable(self) -> Audit:
        if self.to == "syslog" and not self.host:
            raise ValueError("syslog needs a host: the collector's name or address")
        return self


class Web(Frozen):
    """The dashboard and the REST interface."""

    enabled: bool = True
    """`srnode serve` starts it; `srnode web` runs it alone."""
    host: Name = "127.0.0.1"
    """The address to listen on; elsewhere than on this machine set a certificate, too."""
    port: Port = 8085
    """Where browsers find it."""
    names: tuple[Name, ...] = ()
    """Host names by which browsers may call it; none: on loopback only its own, else any."""
    proxies: tuple[Annotated[str, AfterValidator(_address)], ...] = ()
    """Addresses of reverse proxies, whose X-Forwarded-For is believed; else all callers count as one address."""
    certificate: Annotated[Path | None, Field(examples=["web.crt"])] = None
    """PEM: makes it https."""
    private_key: Annotated[Path | None, Field(examples=["web.key"])] = None
    """PEM."""
    session_hours: Annotated[float, Field(gt=0, le=24 * 31)] = 12
    """After so long somebody logs in again."""
    runs_dir: Annotated[Path | None, Field(examples=["runs"])] = None
    """Training runs whose curves are shown."""

    @model_validator(mode="after")
    def _whole(self) -> Web:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key belong together")
        return self

    @property
    def url(self) -> str:
        """As somebody on this machine calls it."""
        host = self.names[0] if self.names else "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104
        return f"{'https' if self.certificate else 'http'}://{f'[{host}]' if ':' in host else host}:{self.port}"


class Alarms(Frozen):
    """Who is told when something is wrong. No message names a patient."""

    webhook: str = ""
    """An http(s) address that gets a JSON document by POST."""
    mail_to: tuple[Name, ...] = ()
    """Addresses; needs smtp_host."""
    mail_from: str = "srnode@localhost"
    """The sender of the mail."""
    smtp_host: str = ""
    """The server that takes mail from this machine."""
    smtp_port: Port = 25
    """Where that server listens."""
    repeat_hours: Annotated[float, Field(gt=0)] = 24
    """As long as it goes on it is told again after so long."""

    @model_validator(mode="after")
    def _reachable(self) -> Alarms:
        if self.mail_to and not self.smtp_host:
            raise ValueError("mail_to needs smtp_host: the server that takes mail from this machine")
        if self.webhook and not self.webhook.startswith(("http://", "https://")):
            raise ValueError("webhook is the http:// or https:// address that is told")
        return self


class Database(Frozen):
    """Where the queue lives."""

    url: str = ""
    """Empty: SQLite in data_dir; or postgresql+psycopg://user:password@host/name."""

    @model_validator(mode="after")
    def _served(self) -> Database:
        if self.url and not self.url.startswith(("sqlite:///", "postgresql+psycopg://")):
            raise ValueError("url is empty, sqlite:///PATH or postgresql+psycopg://...")
        return self

    @property
    def is_served(self) -> bool:
        """Whether a server keeps it, so that several machines may use it."""
        return self.url.startswith("postgresql")


class Model(Frozen):
    """Which generator works, and how far it may go."""

    name: Name = "auto"
    """"auto", a name from `srnode models ls`, or the path of a .safetensors file."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """"auto" takes a GPU if there is one."""
    scale: Scale = "auto"
    """"auto": x4 if the result fits below, else x2."""
    max_output_megapixels: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 64
    """Larger results are not made."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the network's arithmetic; "auto": bfloat16 where the device has matrix units for it. Other UIDs."""
    unproven: bool = False
    """Serve weights that have not passed `srnode models qa`; every result says so."""


class Work(Frozen):
    """How jobs are held."""

    lease_s: Seconds = 120
    """A job comes back to the queue when its worker was silent for so long."""
    deadline_s: Seconds = 600
    """An image that takes longer is given up for this try."""
    max_attempts: Count = 5
    """Tries of one image before it is dead."""
    poll_s: Seconds = 0.5
    """How often an idle worker looks for work."""
    decode_limit_s: Seconds = 6
    """Computing time that reading and decoding one image may take."""
    decode_memory_mb: Annotated[int, Field(ge=128)] = 768
    """Memory that reading and decoding may take."""
    off_peak: Window = ""
    """"19:00-06:00": when images of priority "backfill" are worked on; empty: any time."""


class Derive(Frozen):
    """How derived objects look, and what is made beside them."""

    label: Label = "burned"
    """"burned" into a corner, "overlay" plane that viewers can hide, or "none"."""
    heat_map: bool = False
    """Also send a colour picture of what was added and where."""
    report: bool = False
    """Also send a measurement report (TID 1500) with the model and the numbers of the image."""


class Delivery(Frozen):
    """How results are sent, and sent again."""

    retry_first_s: Seconds = 30
    """The pause after a failed try; it doubles each time ..."""
    retry_max_s: Seconds = 900
    """... up to this, until retention.undelivered_days are over."""
    connect_timeout_s: Seconds = 10
    """For the TCP connection."""
    response_timeout_s: Seconds = 120
    """For each answer of the peer."""
    commitment_wait_s: Seconds = 3600
    """For a report of storage commitment; then it is asked for again."""
    poll_s: Seconds = 0.5
    """How often an idle sender looks for work."""

    @property
    def exchange_s(self) -> float:
        """After so long an exchange with a peer has failed, or whoever made it is dead."""
        return 2 * (self.connect_timeout_s + self.response_timeout_s)


class Peer(Frozen):
    """A remote application entity. Its name is yours; rules and commands use it."""

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


class Dicomweb(Frozen):
    """An archive that takes results by STOW-RS. Rules send to it by its name, as to a peer."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s]+$", examples=["https://archive.example/dicom-web"])]
    """Its DICOMweb service; tls.authorities says whose certificate is good."""
    token_file: Annotated[Path | None, Field(examples=["cloud.token"])] = None
    """Sent as Authorization: Bearer; only the node's user should be able to read it."""
    mutual_tls: bool = False
    """true: show tls.certificate."""
    compression: Literal["jpeg-ls", "none"] = "none"
    """Of what is sent: lossless, or "none"."""


class Match(Frozen):
    """Conditions on an image."""

    modality: Annotated[tuple[Name, ...], Field(examples=[["CR", "DX"]])] = ()
    """Mammography (MG) is upscaled only where it is named here."""
    body_part: Annotated[tuple[Name, ...], Field(examples=[["CHEST*"]])] = ()
    """Body Part Examined."""
    view: Annotated[tuple[Name, ...], Field(examples=[["PA", "AP"]])] = ()
    """View Position."""
    station: Annotated[tuple[Name, ...], Field(examples=[["ER-?"]])] = ()
    """Station Name."""
    calling_ae: Annotated[tuple[AETitle, ...], Field(examples=[["CR_ROOM1"]])] = ()
    """Who sent it."""
    called_ae: Annotated[tuple[AETitle, ...], Field(examples=[["SRNODE_X2"]])] = ()
    """By what name it called us: the node answers to each title that stands here."""
    min_megapixels: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0
    """Of the source."""
    max_megapixels: Annotated[Annotated[float, Field(gt=0, allow_inf_nan=False)] | None, Field(examples=[30])] = None
    """Of the source."""


class Target(Frozen):
    """A peer that gets the results of a rule."""

    peer: Name
    """Its name in [peers] or [dicomweb]."""
    model: Name | None = None
    """Else the rule's."""
    scale: Scale | None = None
    """Else the rule's."""
    label: Label | None = None
    """Else the rule's."""


class Rule(Frozen):
    """What becomes of the images that match. The first rule that matches decides.

    Without any rule every radiograph is upscaled and kept in data_dir/out. All conditions that are given must hold;
    texts may have the wildcards * and ? and are compared without regard to case, AE titles are themselves.
    """

    name: Annotated[Name, Field(examples=["chest"])]
    """Shown in messages."""
    match: Match = Match()
    """All that is given must hold."""
    fallback: bool = False
    """true for one rule: it takes what no other does, wherever it stands."""
    send_to: Annotated[
        tuple[Annotated[Target, BeforeValidator(lambda to: {"peer": to} if isinstance(to, str) else to)], ...],
        Field(examples=[["PACS", {"peer": "CLOUD", "scale": 2}]]),
    ] = ()
    """Peers, each by its name or with what differs for it; none: data_dir/out."""
    model: Annotated[Name | None, Field(examples=["xr"])] = None
    """Else whichever is in service."""
    scale: Annotated[Scale | None, Field(examples=[4])] = None
    """Else model.scale."""
    label: Annotated[Label | None, Field(examples=["burned"])] = None
    """Else derive.label."""
    priority: Literal["stat", "routine", "backfill"] = "routine"
    """"stat" goes first, "backfill" last and only off-peak."""
    off_peak: Window = ""
    """When this rule's "backfill" is worked on; work.off_peak if it is empty."""
    unusual: Literal["skip", "send"] = "skip"
    """A result with far more added detail than in validation: "skip" it, or "send" it flagged."""
    contact: str = ""
    """Whom to ask about this rule."""
    comment: str = ""
    """Why there is this rule."""


class Settings(Frozen):
    """All of it. Field names are the configuration's keys."""

    node: Node = Node()
    scp: Scp = Scp()
    tls: Tls = Tls()
    watch: Watch = Watch()
    disk: Disk = Disk()
    database: Database = Database()
    model: Model = Model()
    work: Work = Work()
    derive: Derive = Derive()
    delivery: Delivery = Delivery()
    retention: Retention = Retention()
    audit: Audit = Audit()
    web: Web = Web()
    alarms: Alarms = Alarms()
    peers: Mapping[str, Peer] = {}
    dicomweb: Mapping[str, Dicomweb] = {}
    rules: tuple[Rule, ...] = ()

    @property
    def destinations(self) -> tuple[str, ...]:
        """Whatever a rule may send to, and the folder."""
        return (*self.peers, *self.dicomweb, FOLDER)

    @property
    def ae_titles(self) -> frozenset[str]:
        """What this node answers to: its own title, and those by which rules tell images apart."""
        return frozenset((self.node.ae_title, *(title for rule in self.rules for title in rule.match.called_ae)))

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        names = [rule.name for rule in self.rules]
        if self.audit.to == "syslog" and not self.tls.certificate:
            raise ValueError('audit.to = "syslog" goes over TLS: set tls.certificate, private_key and authorities')
        if not self.scp.plain and not self.tls.certificate:
            raise ValueError("scp.plain = false leaves no way in: set tls.certificate, private_key and authorities")
        without = [name for name, peer in self.peers.items() if peer.tls and not self.tls.certificate]
        if without:
            raise ValueError(f"peer {without[0]!r} speaks TLS: set tls.certificate, private_key and authorities")
        if sum(rule.fallback for rule in self.rules) > 1:
            raise ValueError("two rules are the fallback: the one that takes what no other rule does")
        for name, place in self.dicomweb.items():
            if name in self.peers:
                raise ValueError(f"{name!r} is a peer and a DICOMweb archive: give one of them another name")
            if place.mutual_tls and not self.tls.certificate:
                raise ValueError(f"dicomweb.{name}.mutual_tls needs tls.certificate, private_key and authorities")
        if FOLDER in (*self.peers, *self.dicomweb):
            raise ValueError(f"no peer can be named {FOLDER!r}: this is the destination of results without a peer")
        for rule in self.rules:
            peers = [to.peer for to in rule.send_to]
            if len(set(peers)) < len(peers):
                raise ValueError(f"rule {rule.name!r} names a peer twice in send_to")
            if names.count(rule.name) > 1:
                raise ValueError(f"two rules are named {rule.name!r}")
            for peer in peers:
                if peer not in self.destinations:
                    known = ", ".join((*self.peers, *self.dicomweb)) or "none"
                    raise ValueError(f"rule {rule.name!r} sends to {peer!r}, which is no peer; known peers: {known}")
        return self
