"""`srnode reload`: the running node reads its configuration again."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime

import typer

from dicom_sr_node.commands.options import Config, Json, load, say, show
from dicom_sr_node.domain.errors import NodeError, NotFound
from dicom_sr_node.network import certificates
from dicom_sr_node.runtime import locks

cli = typer.Typer()


@cli.command("reload")
def reload_(context: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """Let the running node take up its changed configuration. No association is dropped; SIGHUP does the same."""
    settings = load(context, config)  # says what is wrong here, and not in a log
    for problem in certificates.examine(settings, datetime.now(UTC)):
        if problem.is_fatal:
            raise NodeError(f"nothing was reloaded: {problem.key}: {problem.text}: {problem.remedy}")
    pids = locks.holders(settings.node.data_dir, "serve")
    if not pids:
        raise NotFound(f"no `srnode serve` works in {settings.node.data_dir}")
    for pid in pids:
        os.kill(pid, signal.SIGHUP)
    show(as_json, {"reloaded": pids}, lambda: say("the node takes up its configuration"))
