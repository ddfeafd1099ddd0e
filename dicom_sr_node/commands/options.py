"""What the commands share: options, consoles, and how they print."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from dicom_sr_node.audit.messages import AuditMessages
from dicom_sr_node.config import loading
from dicom_sr_node.config.destinations import Peer
from dicom_sr_node.config.settings import Settings
from dicom_sr_node.domain.errors import ConfigRefused, NotFound
from dicom_sr_node.store import database
from dicom_sr_node.store.database import Store

FAILED, REFUSED = 1, 3  # exit codes; 0 is done, 2 usage


class Device(StrEnum):
    """Where to compute."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


console = Console()
errors = Console(stderr=True)

_CONFIG_HELP = "The configuration file (TOML). Without it: $SRNODE_CONFIG, then the built-in defaults."
Config = Annotated[Path | None, typer.Option("-c", "--config", help=_CONFIG_HELP)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def config_path(context: typer.Context, own: Path | None) -> Path | None:
    """-c stands before the command or after it; after it wins."""
    before: Path | None = context.find_root().obj
    return own or before


def load(context: typer.Context, own: Path | None) -> Settings:
    """The settings of a command. Raises ConfigRefused."""
    return loading.load(config_path(context, own))


def settings_typed(context: typer.Context) -> Settings | None:
    """The configuration that a line names while it is typed; None where it cannot be read."""
    own = context.params.get("config") or context.find_root().params.get("config")
    try:
        return loading.load(Path(own) if own else None)
    except ConfigRefused:
        return None


def peers_typed(context: typer.Context, incomplete: str) -> list[str]:
    """For the completion of shells."""
    settings = settings_typed(context)
    return [name for name in (settings.peers if settings else ()) if name.startswith(incomplete)]


def show(as_json: bool, value: object, human: Callable[[], None]) -> None:
    """Print for a program or for people."""
    if as_json:
        print(json.dumps(value, indent=2, default=str))
    else:
        human()


def say(text: str) -> None:
    """One line for people, as it is: names of files and peers are no markup."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def table(*headings: str) -> Table:
    """A plain table."""
    grid = Table(box=None, pad_edge=False)
    for heading in headings:
        grid.add_column(heading)
    return grid


def who() -> str:
    """Whoever types the command, for journal and audit trail."""
    try:
        return f"{os.environ.get('SUDO_USER') or getpass.getuser()} (command line)"
    except (OSError, KeyError):  # a user id without a name
        return "command line"


def open_store(settings: Settings, *, must_exist: bool = False) -> Store:
    """The database of the configuration. Raises NotFound if it `must_exist` and does not."""
    return database.open_store(settings.node, settings.database, must_exist=must_exist)


def peer_of(settings: Settings, name: str) -> Peer:
    """Raises NotFound."""
    if name not in settings.peers:
        known = ", ".join(settings.peers) or "none"
        raise NotFound(f"no peer {name!r} in the configuration ([peers.{name}]); known peers: {known}")
    return settings.peers[name]


def audit_of(settings: Settings) -> AuditMessages:
    """The audit trail's words for this node."""
    return AuditMessages(settings.node.ae_title, enabled=settings.audit.enabled)


def note(settings: Settings, store: Store, what: str) -> None:
    """Into the audit trail: somebody has changed something."""
    store.audit.add(audit_of(settings).acted(who(), "", what))


def local(seconds: float) -> str:
    """A time of the database for people."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")
