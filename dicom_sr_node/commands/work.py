"""`srnode work`: one worker alone."""

from __future__ import annotations

import typer

from dicom_sr_node.app.work import work as run
from dicom_sr_node.commands.options import Config, load
from dicom_sr_node.commands.service import Parent, become_service, patience_s

cli = typer.Typer()


@cli.command()
def work(context: typer.Context, config: Config = None, parent: Parent = 0) -> None:
    """Only one worker: takes images from the queue and upscales them. Start as many as the machine can feed."""
    run(load(context, config), become_service(parent), patience_s(parent))
