"""`srnode config check`: is the configuration right?"""

from __future__ import annotations

import typer

from dicom_sr_node.commands.options import (
    Config,
    Json,
    load,
    show,
)
from dicom_sr_node.domain.errors import ConfigRefused, NotFound
from dicom_sr_node.work.registry import AUTOMATIC, registry_for
from model import checkpoint

cli = typer.Typer()


@cli.command("check")
def config_check(context: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """Is the configuration right? Names every mistake with its key and line; exit code 3 if there is one."""
    settings = load(context, config)
    registry = registry_for(settings.node, settings.model)
    named = {"model.name": settings.model.name}
    for rule in settings.rules:
        named |= {
            f"rule {rule.name!r}, model": name for name in (rule.model, *(to.model for to in rule.send_to)) if name
        }
    for key, name in named.items():
        try:
            if name != AUTOMATIC:
                checkpoint.read_card(registry.find(name))
        except (checkpoint.CheckpointError, NotFound) as error:
            raise ConfigRefused(f"{key}: {error}") from error
    show(as_json, {"ok": True}, lambda: print("the configuration is right"))
