"""`srnode config`, `srnode models` and `srnode conformance`: what this node is set up with, and what it promises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from dicom_sr_node.commands.options import FAILED, Config, Json, console, load, say, show, table
from dicom_sr_node.errors import ConfigRefused

cli = typer.Typer()
config_cli = typer.Typer(help="The configuration.", no_args_is_help=True)
models_cli = typer.Typer(help="The weights that are installed.", no_args_is_help=True)


@cli.command()
def conformance(
    update: Annotated[
        Path | None, typer.Option(help="Make the tables of this document anew instead of printing them.")
    ] = None,
) -> None:
    """The tables of the DICOM conformance statement, as Markdown, made from the code."""
    from dicom_sr_node import conformance as statement

    if update is None:
        print(statement.render())
        return
    update.write_text(statement.filled(update.read_text(encoding="utf-8")), encoding="utf-8")
    say(f"{update}: its tables are those of this version")


@config_cli.command("check")
def config_check(context: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """Is the configuration right? Names every mistake with its key and line; exit code 3 if there is one."""
    from model import checkpoint

    name = load(context, config).model.name
    try:
        if name != "auto":
            checkpoint.read_card(checkpoint.find(name))
    except checkpoint.CheckpointError as error:
        raise ConfigRefused(f"model.name: {error}") from error
    show(as_json, {"ok": True}, lambda: print("the configuration is right"))


@config_cli.command("show")
def config_show(context: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """The effective configuration: defaults, file and environment together."""
    values = load(context, config).model_dump(mode="json")

    def human() -> None:
        for section, content in values.items():
            say(f"{section} = {json.dumps(content, ensure_ascii=False)}")

    show(as_json, values, human)


@models_cli.command("ls")
def models_ls(as_json: Json = False) -> None:
    """The weights that are installed, and which of them `auto` means here."""
    from model import checkpoint
    from model.upscaler import choose_device

    automatic = checkpoint.default_name(choose_device("auto"))
    cards = [checkpoint.read_card(checkpoint.find(name)) for name in checkpoint.available()]
    rows = [{**card.as_dict(), "auto": card.name == automatic} for card in cards]

    def human() -> None:
        rows_shown = table("name", "version", "sha256", "scale", "auto")
        for card in cards:
            scale = f"x{card.architecture.scale}"
            rows_shown.add_row(
                card.name, card.version, card.sha256[:12], scale, "yes" if card.name == automatic else ""
            )
        console.print(rows_shown if cards else "no weights are installed")

    show(as_json, rows, human)


@models_cli.command("verify")
def models_verify(
    names: Annotated[
        list[str] | None, typer.Argument(help="Names or .safetensors files; all installed ones if none is given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Are the weights those that their cards describe? Exit code 1 if any is not."""
    from model import checkpoint

    rows = []
    for name in names or checkpoint.available():
        try:
            _, card = checkpoint.load(checkpoint.find(name))
            rows.append({"name": name, "ok": True, "found": f"sha256 {card.sha256}"})
        except checkpoint.CheckpointError as error:
            rows.append({"name": name, "ok": False, "found": str(error)})

    def human() -> None:
        for row in rows:
            say(f"{'PASS' if row['ok'] else 'FAIL'}  {row['name']}  {row['found']}")

    show(as_json, rows, human)
    if not rows or not all(row["ok"] for row in rows):
        raise typer.Exit(FAILED)
