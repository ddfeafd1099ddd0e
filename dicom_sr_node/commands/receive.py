"""`srnode receive`: the receiver alone."""

from __future__ import annotations

import typer

from dicom_sr_node.app.receive import receive as run
from dicom_sr_node.commands.options import Config, load
from dicom_sr_node.commands.service import Parent, become_service, patience_s, reloads

cli = typer.Typer()


@cli.command()
def receive(context: typer.Context, config: Config = None, parent: Parent = 0) -> None:
    """Only the receiver: answers C-ECHO and stores what is sent by C-STORE."""
    settings, stop = load(context, config), become_service(parent)
    run(settings, stop, patience_s(parent), reloads("receive", context, config))
