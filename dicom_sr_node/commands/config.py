"""`srnode config`: the configuration."""

from __future__ import annotations

import typer

from dicom_sr_node.commands import lazy
from dicom_sr_node.commands.lazy import Lazy

COMMANDS = {
    "check": Lazy("config_check", "Is the configuration right? Names every mistake with its key and line."),
    "show": Lazy("config_show", "The effective configuration: defaults, file and environment together.", "show_cli"),
    "example": Lazy("config_show", "A configuration with every key, its default and what it means.", "example_cli"),
    "reference": Lazy("config_show", "Every key with its values, as Markdown; made from the code.", "reference_cli"),
}
cli = typer.Typer(cls=lazy.group(COMMANDS), help="The configuration.", no_args_is_help=True)


@cli.callback()
def config() -> None:
    """The configuration."""
