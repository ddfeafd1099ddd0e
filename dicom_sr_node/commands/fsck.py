"""`srnode fsck`: database and spool against each other."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.progress import Progress

from dicom_sr_node.commands.options import (
    FAILED,
    Config,
    Json,
    errors,
    load,
    open_store,
    say,
    show,
)
from dicom_sr_node.spool import Spool
from dicom_sr_node.store.invariants import Invariants
from dicom_sr_node.tools import fsck as checker

cli = typer.Typer()


@cli.command()
def fsck(
    context: typer.Context,
    quick: Annotated[bool, typer.Option("--quick", help="Compare lengths only, and read no file.")] = False,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Is everything there that was promised? Database and spool against each other. Exit code 1 if not."""
    settings = load(context, config)
    invariants = Invariants(open_store(settings, must_exist=True).engine)
    with Progress(console=errors, transient=True, disable=as_json or not errors.is_terminal) as bar:
        task = bar.add_task("reading", total=1.0)
        findings = checker.check(
            Spool(settings.node.spool, "fsck"),
            invariants,
            quick=quick,
            progress=lambda fraction: bar.update(task, completed=fraction),
        )

    def human() -> None:
        for line in findings.violations:
            say(f"BROKEN  {line}")
        for line in findings.notes:
            say(f"note    {line}")
        verdict = f"{len(findings.violations)} promises broken" if findings.violations else "clean"
        say(f"{findings.images} images, {findings.results} results: {verdict}")

    show(as_json, {"clean": not findings.violations, **vars(findings)}, human)
    if findings.violations:
        raise typer.Exit(FAILED)
