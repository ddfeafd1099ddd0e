"""Groups of commands whose modules are imported when one of their commands runs, and not before.

The receiver must not hold PyTorch in memory, and `srnode status` must not wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True)
class Lazy:
    """Where a command is. module: below `dicom_sr_node.commands`, with a Typer named `attribute`."""

    module: str
    help: str  # one line, for the list of commands; the rest stands with the command
    attribute: str = "cli"


def group(table: Mapping[str, Lazy]) -> type[TyperGroup]:
    """A class of groups for `typer.Typer(cls=...)`."""

    class LazyGroup(TyperGroup):
        def __init__(self, **arguments: Any) -> None:
            super().__init__(**arguments)
            self.commands = {name: TyperCommand(name, help=lazy.help, callback=None) for name, lazy in table.items()}

        def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
            name, command, rest = super().resolve_command(ctx, args)
            return name, load(table[name]) if name is not None and name in table else command, rest

    return LazyGroup


def load(lazy: Lazy) -> Any:
    """The command itself."""
    module = import_module(f"dicom_sr_node.commands.{lazy.module}")
    return typer.main.get_command(getattr(module, lazy.attribute))
