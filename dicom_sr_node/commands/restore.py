"""`srnode restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dicom_sr_node.commands.backup import make_private, tell
from dicom_sr_node.commands.options import (
    Config,
    Json,
    load,
    open_store,
)
from dicom_sr_node.runtime import locks
from dicom_sr_node.spool import Spool
from dicom_sr_node.tools import backup as copying

cli = typer.Typer()


@cli.command()
def restore(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="What `srnode backup` made.")],
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Fill a new node from a backup; its data directory and database must be empty. SQLite and PostgreSQL both do."""
    settings = load(context, config)
    make_private()
    locks.take(settings.node.data_dir, "serve")
    done = copying.restore(open_store(settings), Spool(settings.node.spool, "restore"), folder)
    tell(as_json, done, f"{done.rows} rows and {done.files} files are restored; now try `srnode fsck`")
