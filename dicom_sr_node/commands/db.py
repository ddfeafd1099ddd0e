"""`srnode db`: the database's schema."""

from __future__ import annotations

import typer

from dicom_sr_node.commands.backup import make_private
from dicom_sr_node.commands.options import (
    Config,
    Json,
    load,
    open_store,
    say,
    show,
)
from dicom_sr_node.config.settings import Settings
from dicom_sr_node.store import engine as database

cli = typer.Typer(help="The database's schema.", no_args_is_help=True)


@cli.callback()
def db() -> None:
    """The database's schema."""


@cli.command("upgrade")
def db_upgrade(context: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """Bring the schema to this version. `srnode serve` does it by itself; several machines may do it at once."""
    settings: Settings = load(context, config)
    make_private()
    engine = open_store(settings).engine
    before = database.revision(engine)[0]
    database.upgrade(engine)
    after = database.revision(engine)[0]
    message = f"the schema is {after}" + (f", it was {before or 'none'}" if before != after else " already")
    show(as_json, {"before": before, "after": after}, lambda: say(message))
