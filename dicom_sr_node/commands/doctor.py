"""`srnode doctor`: what the node needs, tried."""

from __future__ import annotations

import typer

from dicom_sr_node.commands.options import (
    FAILED,
    Config,
    Json,
    load,
    open_store,
    say,
    show,
)
from dicom_sr_node.domain.diagnosis import Verdict
from dicom_sr_node.monitor import doctor as examination
from dicom_sr_node.spool import Spool

cli = typer.Typer()


@cli.command()
def doctor(context: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """Try disk, database, clock, ports, model and each peer, and say what to change. Exit code 1 if anything fails."""
    settings = load(context, config)
    checks = []
    for check in examination.examine(settings, open_store(settings), Spool(settings.node.spool, "doctor")):
        checks.append(check)
        if not as_json:
            say(f"{check.verdict}  {check.name}: {check.found}{f'  -> {check.remedy}' if check.remedy else ''}")
    show(as_json, [vars(check) for check in checks], lambda: None)
    if any(check.verdict == Verdict.FAIL for check in checks):
        raise typer.Exit(FAILED)
