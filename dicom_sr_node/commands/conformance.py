"""`srnode conformance`: the tables of the conformance statement."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dicom_sr_node.commands.options import (
    say,
)
from dicom_sr_node.tools import conformance as statement

cli = typer.Typer()


@cli.command()
def conformance(
    update: Annotated[
        Path | None, typer.Option(help="Make the tables of this document anew instead of printing them.")
    ] = None,
) -> None:
    """The tables of the DICOM conformance statement, as Markdown, made from the code."""
    if update is None:
        print(statement.render())
        return
    update.write_text(statement.filled(update.read_text(encoding="utf-8")), encoding="utf-8")
    say(f"{update}: its tables are those of this version")
