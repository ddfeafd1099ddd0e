"""`srnode verify`: a derived file held against its source."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from dicom_sr_node import __version__
from dicom_sr_node.commands.options import (
    FAILED,
    Json,
    say,
    show,
)
from dicom_sr_node.config.working import WorkSettings
from dicom_sr_node.dicom import validation
from dicom_sr_node.domain.errors import NodeError
from dicom_sr_node.pixels.sandbox import DecoderProcess
from dicom_sr_node.verify.verification import subject
from dicom_sr_node.verify.verification import verify as check_all

cli = typer.Typer()


@cli.command()
def verify(
    derived: Annotated[Path, typer.Argument(help="A derived DICOM file.")],
    source: Annotated[Path, typer.Argument(help="The DICOM file it was made from.")],
    as_json: Json = False,
) -> None:
    """Hold a derived image against its source: pixels, geometry, identity, provenance; each PASS or FAIL.

    The table can be filed: it names both files, their hashes, the software and the time.
    """

    validation.relax_validation()
    try:
        with DecoderProcess(WorkSettings()) as reader:
            checks = check_all(derived, source, reader)
        files = {name: subject(path) for name, path in (("derived", derived), ("source", source))}
    except OSError as error:
        raise NodeError(str(error)) from error
    passed = all(check.passed for check in checks)
    by = f"dicom_sr_node {__version__}, {datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z}"
    value = {"passed": passed, "by": by, **{name: vars(one) for name, one in files.items()}}
    rows = [{"check": check.name, "passed": check.passed, "found": check.found} for check in checks]

    def human() -> None:
        say(f"{'verified by':18} {by}")
        for name, one in files.items():
            say(f"{name:18} {one.file}")
            say(f"{'':18} SOP Instance UID {one.sop_instance_uid}")
            say(f"{'':18} sha256 {one.sha256}")
        for check in checks:
            say(f"{check.name:18} {'PASS' if check.passed else 'FAIL'}  {check.found}")
        say(f"{'verify':18} {'PASS' if passed else 'FAIL'}")

    show(as_json, {**value, "checks": rows}, human)
    if not passed:
        raise typer.Exit(FAILED)
