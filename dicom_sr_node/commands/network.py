"""`srnode echo` and `srnode send`: trying out the peers of the configuration."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from dicom_sr_node.commands.options import FAILED, Config, Json, load, say, show
from dicom_sr_node.errors import NotFound
from dicom_sr_node.settings import Peer, Settings

cli = typer.Typer()


def _peer(settings: Settings, name: str) -> Peer:
    if name not in settings.peers:
        known = ", ".join(settings.peers) or "none"
        raise NotFound(f"no peer {name!r} in the configuration ([peers.{name}]); known peers: {known}")
    return settings.peers[name]


@cli.command()
def echo(context: typer.Context, peer: str, as_json: Json = False, config: Config = None) -> None:
    """C-ECHO: does a peer of the configuration answer us?"""
    from dicom_sr_node.deliver import dimse

    settings = load(context, config)
    target = _peer(settings, peer)
    started = time.monotonic()
    dimse.echo(settings, target)
    took_ms = round((time.monotonic() - started) * 1000)
    show(as_json, {"peer": peer, "answered": True, "ms": took_ms}, lambda: print(f"{peer} answered in {took_ms} ms"))


@cli.command()
def send(
    context: typer.Context,
    peer: str,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="DICOM files or folders of them.")],
    as_json: Json = False,
    config: Config = None,
) -> None:
    """C-STORE files to a peer of the configuration, as they are."""
    from dicom_sr_node import tolerance
    from dicom_sr_node.deliver.send_files import send_files

    tolerance.accept_faults_of_others()
    settings = load(context, config)
    rows = send_files(settings, _peer(settings, peer), paths)
    failed = [row for row in rows if not row["sent"]]

    def human() -> None:
        for row in rows:
            if row["note"]:
                say(f"{row['file']}: {row['note']}")
        say(f"{len(rows) - len(failed)} sent, {len(failed)} not")

    show(as_json, rows, human)
    if failed:
        raise typer.Exit(FAILED)
