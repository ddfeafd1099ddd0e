"""`srnode init`: a few questions, the peers tried, a commented configuration written."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from dicom_sr_node.commands.options import say
from dicom_sr_node.config.destinations import Peer
from dicom_sr_node.config.settings import Settings
from dicom_sr_node.deliver.destinations.table import local_entity
from dicom_sr_node.domain.errors import ConfigRefused, NodeError
from dicom_sr_node.network import associations

cli = typer.Typer()

_HEAD = """\
# Made by `srnode init`. All other keys, with their defaults and comments: srnode config example.
# After a change: srnode -c THIS_FILE config check, then srnode -c THIS_FILE reload.

[node]
ae_title = {ae_title}          # what modalities and the PACS call this node
data_dir = {data_dir}          # database, received images and results: back it up (srnode backup)

[scp]
host = {host}          # the address to listen on; 0.0.0.0 for all of this machine
port = {port}
"""
_PEER = """
[peers.{name}]{comment}
ae_title = {ae_title}
host = {host}
port = {port}
allow = ["store"]          # it may send images to this node
"""
_RULE = """
[[rules]]
name = "radiographs"
match.modality = ["CR", "DX"]          # mammography (MG) only if it is named here
send_to = ["{name}"]
contact = ""          # whom to ask about this rule
comment = ""          # why there is this rule
"""


@cli.command("init")
def init(
    path: Annotated[Path, typer.Argument(help="The configuration to write; it must not exist.")] = Path("node.toml"),
) -> None:
    """Ask a few questions, try the peers, and write a commented configuration."""
    if path.exists():
        raise NodeError(f"{path} exists: name another file, or remove it")
    say("Enter takes what stands in [brackets].")
    text = _ask_node()
    if typer.confirm("Shall results go to a PACS (else to a folder)?", default=True):
        text += _ask_peer("PACS", "PACS", text, ", where results go") + _RULE.format(name="PACS")
    number = 1
    while typer.confirm(f"Add {'a' if number == 1 else 'another'} modality that may send?", default=False):
        text += _ask_peer(f"MODALITY{number}", f"modality {number}", text, "")
        number += 1
    _checked(text)
    path.write_text(text, encoding="utf-8")
    say(f"{path} is written. Next:")
    for command in ("doctor", "serve"):
        say(f"  srnode -c {path} {command}")


def _ask_node() -> str:
    """Its sections; asked again until the settings take them."""
    while True:
        node = {
            "ae_title": typer.prompt("AE title of this node", default="SRNODE"),
            "data_dir": typer.prompt("Folder for database and images", default=str(Path("/var/lib/srnode"))),
            "host": typer.prompt("Address to listen on (0.0.0.0: all of this machine)", default="0.0.0.0"),  # noqa: S104
            "port": typer.prompt("DICOM port", default=11112, type=int),
        }
        text = _HEAD.format(**{key: json.dumps(value) for key, value in node.items()})
        try:
            _checked(text)
        except ConfigRefused as error:
            say(f"{error}; once more, please")
            continue
        return text


def _ask_peer(name: str, what: str, before: str, comment: str) -> str:
    """Its section; asked again until the node's settings take it. It is tried at once, and may answer only later."""
    while True:
        values = {
            "ae_title": typer.prompt(f"AE title of the {what}"),
            "host": typer.prompt(f"Host name or address of the {what}"),
            "port": typer.prompt(f"DICOM port of the {what}", default=104, type=int),
        }
        shown = {key: json.dumps(value) for key, value in values.items()}
        section = _PEER.format(name=name, comment=f"          # {what}{comment}", **shown)
        try:
            settings = _checked(before + section)
        except ConfigRefused as error:
            say(f"{error}; once more, please")
            continue
        _try(settings, settings.peers[name], what)
        return section


def _checked(text: str) -> Settings:
    """Raises ConfigRefused in few words."""
    try:
        return Settings(**tomllib.loads(text))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise ConfigRefused(reason) from error


def _try(settings: Settings, peer: Peer, what: str) -> None:
    try:
        associations.echo(local_entity(settings), peer)
        say(f"The {what} answers.")
    except NodeError as error:
        say(f"The {what} does not answer yet: {error}")
        say(f"  Tell it this node's AE title ({settings.node.ae_title}), address and port ({settings.scp.port}).")
