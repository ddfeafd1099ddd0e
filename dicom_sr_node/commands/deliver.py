"""`srnode deliver`: the delivery alone."""

from __future__ import annotations

import typer

from dicom_sr_node.app.deliver import deliver as run
from dicom_sr_node.commands.options import Config, load
from dicom_sr_node.commands.service import Parent, become_service, patience_s

cli = typer.Typer()


@cli.command()
def deliver(context: typer.Context, config: Config = None, parent: Parent = 0) -> None:
    """Only the delivery: sends results to their destinations."""
    run(load(context, config), become_service(parent), patience_s(parent))
