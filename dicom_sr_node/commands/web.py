"""`srnode web`: the dashboard alone."""

from __future__ import annotations

import typer

from dicom_sr_node.app.web import web as run
from dicom_sr_node.commands.options import Config, load
from dicom_sr_node.commands.service import Parent, become_service, patience_s

cli = typer.Typer()


@cli.command()
def web(context: typer.Context, config: Config = None, parent: Parent = 0) -> None:
    """Only the dashboard and the REST interface."""
    run(load(context, config), become_service(parent), patience_s(parent))
