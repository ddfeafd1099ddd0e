"""`srnode users`: who may look into the dashboard."""

from __future__ import annotations

from typing import Annotated

import typer

from dicom_sr_node.actions.accounts import setup_link
from dicom_sr_node.commands.options import (
    Config,
    Json,
    console,
    load,
    local,
    note,
    open_store,
    say,
    show,
    table,
)

cli = typer.Typer(help="Who may look into the dashboard.", no_args_is_help=True)


@cli.command("ls")
def users_ls(context: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """All accounts."""
    accounts = open_store(load(context, config), must_exist=True).accounts.ls()

    def human() -> None:
        rows = table("name", "role", "since")
        for account in accounts:
            rows.add_row(account["name"], account["role"].lower(), local(account["since"]))
        console.print(rows if accounts else "no account: see `srnode users link`")

    show(as_json, accounts, human)


@cli.command("link")
def users_link(context: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """A link that makes the account of an administrator, once, within a day. Ends every link before it."""
    settings = load(context, config)
    store = open_store(settings, must_exist=True)
    link = setup_link(settings.web, store.accounts)
    note(settings, store, "printed a setup link")
    show(as_json, {"link": link}, lambda: say(link))


@cli.command("remove")
def users_remove(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="An account.")],
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Remove an account with all its sessions and tokens."""
    settings = load(context, config)
    store = open_store(settings, must_exist=True)
    store.accounts.remove(name)
    note(settings, store, f"removed account {name}")
    show(as_json, {"removed": name}, lambda: say(f"{name} is removed"))
