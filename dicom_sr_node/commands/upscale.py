"""`srnode upscale`: files, without a service."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dicom_sr_node.commands.options import (
    FAILED,
    Config,
    Device,
    Json,
    errors,
    load,
    say,
    show,
)
from dicom_sr_node.dicom import validation
from dicom_sr_node.domain.errors import NodeError, NotFound
from dicom_sr_node.pixels.sandbox import DecoderProcess
from dicom_sr_node.tools.upscale import FileOutcome, UpscaleBatch, expand
from dicom_sr_node.work.registry import registry_for

cli = typer.Typer()


class ScaleOption(StrEnum):
    AUTO = "auto"
    X2 = "2"
    X4 = "4"


class LabelOption(StrEnum):
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
    scale: Annotated[ScaleOption | None, typer.Option(help="How many times larger.")] = None,
    model: Annotated[
        str | None, typer.Option(help="A name from `srnode models ls`, or the path of a .safetensors file.")
    ] = None,
    device: Annotated[Device | None, typer.Option(help="Where to compute.")] = None,
    label: Annotated[
        LabelOption | None, typer.Option(help="The visible mark; default: burned into DICOM, none on pictures.")
    ] = None,
    heat_map: Annotated[
        bool, typer.Option("--heat-map", help="Also make a picture of what was added and where.")
    ] = False,
    report: Annotated[bool, typer.Option("--report", help="Also make a measurement report (TID 1500).")] = False,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Upscale files without a service. DICOM becomes derived DICOM, pictures become gray PNG of the same bit depth."""
    validation.relax_validation()
    settings = load(context, config)
    chosen = settings.model
    changes: dict[str, Any] = {}
    if scale is not None:
        changes["scale"] = "auto" if scale == ScaleOption.AUTO else int(scale)
    chosen = chosen.model_copy(update=changes)
    registry = registry_for(settings.node, settings.model)
    upscaler = registry.load(model or chosen.name, (device or Device(chosen.device)).value, chosen.precision)
    files = [path for _, path in expand(inputs)]
    if not files:
        raise NotFound(f"no file in {', '.join(map(str, inputs))}")
    if output.suffix.lower() in (".png", ".dcm") and len(files) > 1:
        raise NodeError(f"{len(files)} files cannot all become {output}; give a folder with -o")
    errors.print(f"{upscaler.card.identity} on {upscaler.device}, {upscaler.recipe}")
    extras = {"heat_map": heat_map or settings.derive.heat_map, "report": report or settings.derive.report}
    derive = settings.derive.model_copy(update=extras)
    with DecoderProcess(settings.work) as reader:
        batch = UpscaleBatch(reader, upscaler, settings.rules, chosen, derive, label.value if label else None, output)
        outcomes = _run(batch, inputs, len(files))
    failed = [outcome for outcome in outcomes if outcome.result is None]
    rows = [{"source": str(o.source), "result": o.result and str(o.result), "reason": o.reason} for o in outcomes]
    message = f"{len(outcomes) - len(failed)} upscaled, {len(failed)} not, in {output}"
    show(as_json, rows, lambda: say(message))
    if failed:
        raise typer.Exit(FAILED)


def _run(batch: UpscaleBatch, inputs: list[Path], count: int) -> list[FileOutcome]:
    """All files, with a progress bar; each refusal is told as it happens."""
    outcomes: list[FileOutcome] = []
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
