"""`srnode config check`: is the configuration right?"""

from __future__ import annotations

from datetime import UTC, datetime

import typer

from dicom_sr_node.commands.options import (
    Config,
    Json,
    config_path,
    load,
    say,
    show,
)
from dicom_sr_node.domain.errors import ConfigRefused, NotFound
from dicom_sr_node.monitor.doubts import doubts
from dicom_sr_node.network import certificates
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
    fatal = [problem for problem in certificates.examine(settings, datetime.now(UTC)) if problem.is_fatal]
    if fatal:
        lines = "\n".join(f"  {problem.key}: {problem.text}: {problem.remedy}" for problem in fatal)
        raise ConfigRefused(f"the configuration is refused:\n{lines}")
    warnings = list(doubts(settings, config_path(context, config)))

    def human() -> None:
        for line in warnings:
            say(f"warning: {line}")
        print("the configuration is right")

    show(as_json, {"ok": True, "warnings": warnings}, human)
