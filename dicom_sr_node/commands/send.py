"""`srnode send`: C-STORE of files to a peer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dicom_sr_node.commands.options import (
    FAILED,
    Config,
    Json,
    load,
    peer_of,
    peers_typed,
    say,
    show,
)
from dicom_sr_node.deliver.destinations.table import local_entity
from dicom_sr_node.dicom import validation
from dicom_sr_node.tools.send_files import send_files

cli = typer.Typer()


@cli.command()
def send(
    context: typer.Context,
    peer: Annotated[str, typer.Argument(autocompletion=peers_typed)],
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="DICOM files or folders of them.")],
    as_json: Json = False,
    config: Config = None,
) -> None:
    """C-STORE files to a peer of the configuration, as they are."""
    validation.relax_validation()
    settings = load(context, config)
    rows = send_files(local_entity(settings), peer_of(settings, peer), paths)
    failed = [row for row in rows if not row["sent"]]

    def human() -> None:
        for row in rows:
            if row["note"]:
                say(f"{row['file']}: {row['note']}")
        say(f"{len(rows) - len(failed)} sent, {len(failed)} not")

    show(as_json, rows, human)
    if failed:
        raise typer.Exit(FAILED)
