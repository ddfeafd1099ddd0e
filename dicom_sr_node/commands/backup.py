"""`srnode backup`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from dicom_sr_node.commands.options import (
    FAILED,
    Config,
    Json,
    load,
    note,
    open_store,
    say,
    show,
)
from dicom_sr_node.spool import Spool
from dicom_sr_node.tools import backup as copying

cli = typer.Typer()


@cli.command()
def backup(
    context: typer.Context,
    folder: Annotated[
        Path, typer.Argument(help="A new folder, or that of an earlier backup, which is brought up to date.")
    ],
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Copy the database and all images and results, consistent with each other, while the node works on."""
    settings = load(context, config)
    make_private()
    store = open_store(settings, must_exist=True)
    done = copying.backup(store, Spool(settings.node.spool, "backup"), folder)
    note(settings, store, f"copied everything to {folder}")
    tell(as_json, done, f"{done.rows} rows and {done.files} files are in {folder}")


def tell(as_json: bool, done: object, message: str) -> None:
    missing: list[str] = vars(done)["missing"]

    def human() -> None:
        for line in missing:
            say(f"MISSING  {line}")
        say(message)

    show(as_json, vars(done), human)
    if missing:
        raise typer.Exit(FAILED)


def make_private() -> None:
    """What is made now belongs to this user alone."""
    os.umask(0o077)
