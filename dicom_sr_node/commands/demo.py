"""`srnode demo`: the whole journey on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from dicom_sr_node.commands.options import Config, load
from dicom_sr_node.commands.service import become_service
from dicom_sr_node.tools import demo as demonstration

cli = typer.Typer()


@cli.command()
def demo(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Exit after one image.")] = False,
    config: Config = None,
) -> None:
    """The whole journey on this machine: a node, a synthetic radiograph, a destination. Needs nothing else."""
    raise typer.Exit(demonstration.run(load(context, config).node.data_dir / "demo", once=once, stop=become_service()))
