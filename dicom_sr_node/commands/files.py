"""`srnode upscale` and `srnode verify`: files, without a service."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicom_sr_node.commands.options import FAILED, Config, Device, Json, errors, load, say, show
from dicom_sr_node.errors import NodeError, NotFound

if TYPE_CHECKING:
    from dicom_sr_node.upscale import Batch, Outcome

cli = typer.Typer()


class Scale(StrEnum):
    AUTO = "auto"
    X2 = "2"
    X4 = "4"


class LabelKind(StrEnum):
    BURNED = "burned"
    OVERLAY = "overlay"
    NONE = "none"


@cli.command()
def upscale(
    context: typer.Context,
    inputs: Annotated[
        list[Path], typer.Argument(metavar="IN...", help="DICOM, PNG, JPEG or TIFF files, or folders of them.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="A folder; or a .dcm or .png file for one input.")],
    scale: Annotated[Scale | None, typer.Option(help="How many times larger.")] = None,
    model: Annotated[
        str | None, typer.Option(help="A name from `srnode models ls`, or the path of a .safetensors file.")
    ] = None,
    device: Annotated[Device | None, typer.Option(help="Where to compute.")] = None,
    label: Annotated[
        LabelKind | None, typer.Option(help="The visible mark; default: burned into DICOM, none on pictures.")
    ] = None,
    heat_map: Annotated[
        bool, typer.Option("--heat-map", help="Also make a picture of what was added and where.")
    ] = False,
    report: Annotated[bool, typer.Option("--report", help="Also make a measurement report (TID 1500).")] = False,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Upscale files without a service. DICOM becomes derived DICOM, pictures become gray PNG of the same bit depth."""
    from dicom_sr_node import tolerance
    from dicom_sr_node.models import Shelf
    from dicom_sr_node.pixels.reader import Reader
    from dicom_sr_node.upscale import Batch, expand

    tolerance.accept_faults_of_others()
    settings = load(context, config)
    chosen = settings.model
    changes: dict[str, Any] = {}
    if scale is not None:
        changes["scale"] = "auto" if scale == Scale.AUTO else int(scale)
    chosen = chosen.model_copy(update=changes)
    shelf = Shelf(settings.node.spool, unproven=chosen.unproven)
    upscaler = shelf.load(model or chosen.name, (device or Device(chosen.device)).value, chosen.precision)
    files = [path for _, path in expand(inputs)]
    if not files:
        raise NotFound(f"no file in {', '.join(map(str, inputs))}")
    if output.suffix.lower() in (".png", ".dcm") and len(files) > 1:
        raise NodeError(f"{len(files)} files cannot all become {output}; give a folder with -o")
    errors.print(f"{upscaler.card.identity} on {upscaler.device}, {upscaler.precision}")
    extras = {"heat_map": heat_map or settings.derive.heat_map, "report": report or settings.derive.report}
    wanted = settings.derive.model_copy(update=extras)
    with Reader(settings.work) as reader:
        batch = Batch(reader, upscaler, settings.rules, chosen, wanted, label.value if label else None, output)
        outcomes = _run(batch, inputs, len(files))
    failed = [outcome for outcome in outcomes if outcome.result is None]
    rows = [{"source": str(o.source), "result": o.result and str(o.result), "reason": o.reason} for o in outcomes]
    told = f"{len(outcomes) - len(failed)} upscaled, {len(failed)} not, in {output}"
    show(as_json, rows, lambda: say(told))
    if failed:
        raise typer.Exit(FAILED)


def _run(batch: Batch, inputs: list[Path], count: int) -> list[Outcome]:
    """All files, with a progress bar; each refusal is told as it happens."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    outcomes: list[Outcome] = []
    columns = (TextColumn("upscaling"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors) as progress:
        task = progress.add_task("", total=count)

        def step(fraction: float) -> None:
            progress.update(task, completed=len(outcomes) + fraction)

        for outcome in batch.run(inputs, datetime.now(UTC), step):
            outcomes.append(outcome)
            step(0)
            if outcome.result is None:
                errors.print(f"{outcome.source}: {outcome.reason}", markup=False, highlight=False, soft_wrap=True)
    return outcomes


@cli.command()
def verify(
    derived: Annotated[Path, typer.Argument(help="A derived DICOM file.")],
    source: Annotated[Path, typer.Argument(help="The DICOM file it was made from.")],
    as_json: Json = False,
) -> None:
    """Hold a derived image against its source: pixels, geometry, identity, provenance; each PASS or FAIL.

    The table can be filed: it names both files, their hashes, the software and the time.
    """
    from dicom_sr_node import __version__, tolerance
    from dicom_sr_node.pixels.reader import Reader
    from dicom_sr_node.settings import Work
    from dicom_sr_node.verify import subject
    from dicom_sr_node.verify import verify as check_all

    tolerance.accept_faults_of_others()
    try:
        with Reader(Work()) as reader:
            checks = check_all(derived, source, reader)
        files = {name: subject(path) for name, path in (("derived", derived), ("source", source))}
    except OSError as error:
        raise NodeError(str(error)) from error
    passed = all(check.passed for check in checks)
    made = f"dicom_sr_node {__version__}, {datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z}"
    value = {"passed": passed, "by": made, **{name: vars(one) for name, one in files.items()}}
    rows = [{"check": check.name, "passed": check.passed, "found": check.found} for check in checks]

    def human() -> None:
        say(f"{'verified by':18} {made}")
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
