"""`srnode config show`, `example` and `reference`."""

from __future__ import annotations

import json

import typer

from dicom_sr_node.commands.options import (
    Config,
    Json,
    load,
    say,
    show,
)
from dicom_sr_node.config import reference
from dicom_sr_node.config.secrets import without_secrets

show_cli, example_cli, reference_cli = typer.Typer(), typer.Typer(), typer.Typer()


@show_cli.command("show")
def config_show(context: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """The effective configuration: defaults, file and environment together; passwords are not shown."""
    values = without_secrets(load(context, config).model_dump(mode="json"))

    def human() -> None:
        for section, content in values.items():
            say(f"{section} = {json.dumps(content, ensure_ascii=False)}")

    show(as_json, values, human)


@example_cli.command("example")
def config_example() -> None:
    """A configuration with every key, its default and what it means."""
    print(reference.example(), end="")


@reference_cli.command("reference")
def config_reference() -> None:
    """Every key with its values, as Markdown; made from the code."""
    print(reference.page(), end="")
