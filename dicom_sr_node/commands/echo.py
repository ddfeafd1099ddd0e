"""`srnode echo`: C-ECHO to a peer."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from dicom_sr_node.commands.options import (
    Config,
    Json,
    load,
    peer_of,
    peers_typed,
    show,
)
from dicom_sr_node.deliver.destinations.table import local_entity
from dicom_sr_node.network import associations

cli = typer.Typer()


@cli.command()
def echo(
    context: typer.Context,
    peer: Annotated[str, typer.Argument(autocompletion=peers_typed)],
    as_json: Json = False,
    config: Config = None,
) -> None:
    """C-ECHO: does a peer of the configuration answer us?"""
    settings = load(context, config)
    target = peer_of(settings, peer)
    started = time.monotonic()
    associations.echo(local_entity(settings), target)
    took_ms = round((time.monotonic() - started) * 1000)
    show(as_json, {"peer": peer, "answered": True, "ms": took_ms}, lambda: print(f"{peer} answered in {took_ms} ms"))
