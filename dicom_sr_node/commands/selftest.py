"""`srnode selftest`: a phantom through the running node."""

from __future__ import annotations

from typing import Annotated

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
from dicom_sr_node.spool import Spool
from dicom_sr_node.tools import selftest as test

cli = typer.Typer()


@cli.command()
def selftest(
    context: typer.Context,
    patience_s: Annotated[float, typer.Option("--patience-s", min=1, help="Give up after so long.")] = 120,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """A phantom through the running node and back, verified; it goes to no peer. Exit code 1 if anything fails."""
    settings = load(context, config)
    store = open_store(settings, must_exist=True)
    done = test.run(settings, store, Spool(settings.node.spool, "selftest"), patience_s)
    failed = [check for check in done.checks if not check.passed]
    value = {**vars(done), "passed": not failed, "checks": [vars(check) for check in done.checks]}

    def human() -> None:
        say(f"acknowledged after {done.acknowledged_s:.2f} s")
        say(f"upscaled     after {done.worked_s:.2f} s by {done.model}")
        say(f"delivered    after {done.delivered_s:.2f} s")
        for check in failed:
            say(f"FAIL  {check.name}: {check.found}")
        say(f"verified: {len(done.checks) - len(failed)} of {len(done.checks)} checks pass")

    show(as_json, value, human)
    if failed:
        raise typer.Exit(FAILED)
