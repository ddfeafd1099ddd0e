"""The configuration: TOML and environment into frozen types. A key that does not exist stops the start.

Precedence: `SRNODE__SECTION__KEY` in the environment, then the file, then the defaults.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from dicom_sr_node.errors import ConfigRefused
from dicom_sr_node.records import FOLDER

ENVIRONMENT_PREFIX = "SRNODE__"
CONFIG_VARIABLE = "SRNODE_CONFIG"


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


Network = Annotated[str, AfterValidator(_network)]
Fingerprint = Annotated[
    str, AfterValidator(lambda value: value.replace(":", "").lower()), Field(pattern="^([0-9a-fA-F:]{64,95})?$")
]


class Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class Node(Frozen):
    """Who this node is and where its data lies."""

    ae_title: AETitle = "SRNODE"
    data_dir: Path = Path("var")
    spool_dir: Path | None = None

    @property
    def spool(self) -> Path:
        """Where images and results lie."""
        return self.spool_dir or self.data_dir / "spool"


class Scp(Frozen):
    """What the node accepts."""

    host: Name = "127.0.0.1"
    port: Port = 11112
    max_associations: Count = 32
    max_per_address: Count = 16
    max_object_mb: Count = 512
    plain: bool = True
    require_called_ae_title: bool = True
    require_known_callers: bool = True
    accept: Literal["all", "radiographs"] = "all"
    idle_timeout_s: Seconds = 60
    pdu_timeout_s: Seconds = 30


class Watch(Frozen):
    """A folder whose files are taken as if they had been sent."""

    folder: Path | None = None


class Tls(Frozen):
    """DICOM over TLS, in and out (PS3.15 B.12). Without a certificate there is none."""

    certificate: Path | None = None
    private_key: Path | None = None
    authorities: Path | None = None
    port: Port = 2762

    @model_validator(mode="after")
    def _whole(self) -> Tls:
        given = [key for key in ("certificate", "private_key", "authorities") if getattr(self, key)]
        if given and len(given) < 3:
            raise ValueError("certificate, private_key and authorities belong together: each side proves who it is")
        return self


class Disk(Frozen):
    """How full the disk may become."""

    reserve_mb: Annotated[int, Field(ge=0)] = 5120


class Retention(Frozen):
    """How long files stay."""

    delivered_days: Days = 30
    skipped_days: Days = 7
    undelivered_days: Days = 30

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
    host: str = ""
    port: Port = 6514

    @model_validator(mode="after")
    def _reachable(self) -> Audit:
        if self.to == "syslog" and not self.host:
            raise ValueError("syslog needs a host: the collector's name or address")
        return self


class Web(Frozen):
    """The dashboard and the REST interface."""

    enabled: bool = True
    host: Name = "127.0.0.1"
    port: Port = 8085
    names: tuple[Name, ...] = ()
    certificate: Path | None = None
    private_key: Path | None = None
    session_hours: Annotated[float, Field(gt=0, le=24 * 31)] = 12
    runs_dir: Path | None = None

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
    mail_to: tuple[Name, ...] = ()
    mail_from: str = "srnode@localhost"
    smtp_host: str = ""
    smtp_port: Port = 25
    repeat_hours: Annotated[float, Field(gt=0)] = 24

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
    device: Literal["auto", "cpu", "cuda"] = "auto"
    scale: Scale = "auto"
    max_output_megapixels: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 64


class Work(Frozen):
    """How jobs are held."""

    lease_s: Seconds = 120
    deadline_s: Seconds = 600
    max_attempts: Count = 5
    poll_s: Seconds = 0.5
    decode_limit_s: Seconds = 6
    decode_memory_mb: Annotated[int, Field(ge=128)] = 768
    off_peak: Window = ""


class Derive(Frozen):
    """How derived objects look, and what is made beside them."""

    label: Label = "burned"
    heat_map: bool = False
    report: bool = False


class Delivery(Frozen):
    """How results are sent, and sent again."""

    retry_first_s: Seconds = 30
    retry_max_s: Seconds = 900
    connect_timeout_s: Seconds = 10
    response_timeout_s: Seconds = 120
    commitment_wait_s: Seconds = 3600
    poll_s: Seconds = 0.5

    @property
    def exchange_s(self) -> float:
        """After so long an exchange with a peer has failed, or whoever made it is dead."""
        return 2 * (self.connect_timeout_s + self.response_timeout_s)


class Peer(Frozen):
    """A remote application entity."""

    ae_title: AETitle
    host: Name
    port: Port = 104
    allow: tuple[Literal["echo", "store"], ...] = ()
    addresses: tuple[Network, ...] = ()
    tls: bool = False
    certificate_sha256: Fingerprint = ""
    commitment: Literal["required", "optional", "off"] = "optional"
    compression: Literal["jpeg-ls", "none"] = "jpeg-ls"
    silent_after_h: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class Dicomweb(Frozen):
    """An archive that takes results by STOW-RS."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s]+$")]
    token_file: Path | None = None
    mutual_tls: bool = False
    compression: Literal["jpeg-ls", "none"] = "none"


class Match(Frozen):
    """Conditions on an image; all that are given must hold.

    Texts may have the wildcards of a shell and are compared without regard to case; AE titles are themselves.
    """

    modality: tuple[Name, ...] = ()
    body_part: tuple[Name, ...] = ()
    view: tuple[Name, ...] = ()
    station: tuple[Name, ...] = ()
    calling_ae: tuple[AETitle, ...] = ()
    called_ae: tuple[AETitle, ...] = ()
    min_megapixels: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0
    max_megapixels: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class Target(Frozen):
    """A peer that gets the results of a rule; what is not given here is the rule's, and else the node's."""

    peer: Name
    model: Name | None = None
    scale: Scale | None = None
    label: Label | None = None


class Rule(Frozen):
    """What becomes of the images that match."""

    name: Name
    match: Match = Match()
    fallback: bool = False
    send_to: tuple[Annotated[Target, BeforeValidator(lambda to: {"peer": to} if isinstance(to, str) else to)], ...] = ()
    model: Name | None = None
    scale: Scale | None = None
    label: Label | None = None
    priority: Literal["stat", "routine", "backfill"] = "routine"
    off_peak: Window = ""
    unusual: Literal["skip", "send"] = "skip"
    contact: str = ""
    comment: str = ""


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


def load(path: Path | None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read the configuration; `path` None means `$SRNODE_CONFIG`, and without it the defaults. Raises ConfigRefused."""
    environment = os.environ if environment is None else environment
    if path is None and (named := environment.get(CONFIG_VARIABLE)):
        path = Path(named)
    text = _read(path) if path else ""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigRefused(f"{path}: not valid TOML: {error}") from None
    overrides = {name: text for name, text in environment.items() if name.startswith(ENVIRONMENT_PREFIX)}
    for name, value in overrides.items():
        _override(values, name, value)
    try:
        return Settings(**values)
    except ValidationError as error:
        mistakes = "\n".join(_mistakes(error, path, text, overrides))
        raise ConfigRefused(f"the configuration is refused:\n{mistakes}") from None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigRefused(f"{path}: there is no such configuration file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigRefused(f"{path}: cannot be read: {error}") from None


def _override(values: dict[str, Any], name: str, text: str) -> None:
    """Set `SECTION__KEY` in the plain values; TOML syntax where it parses, else a string."""
    *tables, last = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
    for table in tables:
        known = next((key for key in values if key.lower() == table), table)  # peers keep their case
        values = values.setdefault(known, {})
        if not isinstance(values, dict):
            raise ConfigRefused(f"environment {name}: {table} is not a section")
    try:
        values[last] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        values[last] = text


def _mistakes(error: ValidationError, path: Path | None, text: str, overrides: Mapping[str, str]) -> Iterator[str]:
    """One line for each mistake: key, value, what is wrong, and where it was written."""
    for mistake in error.errors():
        keys = [str(part) for part in mistake["loc"]]
        key = ".".join(keys)
        variable = ENVIRONMENT_PREFIX + "__".join(keys).upper()
        line = _line_of(text, mistake["loc"])
        if variable in overrides:
            where = f"environment {variable}"
        elif line:
            where = f"{path}, line {line}"
        else:
            where = str(path or "defaults")
        if mistake["type"] == "extra_forbidden":
            what = f"unknown key{_nearest(keys)}"
        else:
            what = f"{mistake['msg']}, not {mistake['input']!r}" if keys else mistake["msg"]
        yield f"  {key or 'rules'}: {what} ({where})"


_TABLES: dict[str, type[BaseModel]] = {"peers": Peer, "dicomweb": Dicomweb, "rules": Rule, "send_to": Target}


def _nearest(keys: list[str]) -> str:
    """The known key that a misspelt one probably means."""
    model: type[BaseModel] = Settings
    inner = iter(keys[:-1])
    for key in inner:
        if key in _TABLES:
            model = _TABLES[key]
            next(inner, None)  # a peer's name, the position of a rule or target
        else:
            model = model.model_fields[key].annotation  # type: ignore[assignment]
    close = get_close_matches(keys[-1], model.model_fields, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known keys: {', '.join(model.model_fields)}"


_TABLE = re.compile(r"^\s*\[\[?\s*([^\]]+?)\s*\]")


def _line_of(text: str, location: tuple[int | str, ...]) -> int | None:
    """The line of a TOML text on which a key stands, else that of its table; None if neither is found."""
    wanted = ".".join(part for part in location if isinstance(part, str))
    position = next((part for part in location if isinstance(part, int)), 0)  # of a table in an array of tables
    table, seen, table_line = "", dict[str, int](), None
    for number, line in enumerate(text.splitlines(), 1):
        if header := _TABLE.match(line):
            table = header[1].replace('"', "").replace(" ", "")
            seen[table] = seen.get(table, -1) + 1
            here = table
        else:
            here = line.partition("=")[0].strip().replace('"', "")
            here = f"{table}.{here}" if table else here
        if seen.get(table, 0) != position and table.partition(".")[0] == wanted.partition(".")[0]:
            continue
        if here == wanted:
            return number
        if wanted.startswith(f"{here}."):
            table_line = number
    return table_line
