"""`srnode pull`: images that an archive already has."""

from __future__ import annotations

from datetime import datetime
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
    peer_of,
    peers_typed,
    say,
    show,
)
from dicom_sr_node.deliver.destinations.table import local_entity
from dicom_sr_node.dicom.sop_kinds import usual_modalities
from dicom_sr_node.tools import pull as pulling

cli = typer.Typer()


@cli.command()
def pull(
    context: typer.Context,
    peer: Annotated[str, typer.Argument(autocompletion=peers_typed)],
    since: Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="Study date.")] = None,
    until: Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Study date.")] = None,
    modality: Annotated[list[str] | None, typer.Option(help="Default: CR and DX.")] = None,
    patient_id: Annotated[str, typer.Option(help="Only this patient's.")] = "",
    accession: Annotated[str, typer.Option(help="Only this request's.")] = "",
    per_minute: Annotated[float, typer.Option(min=0.1, help="Images, at most.")] = 60,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be pulled.")] = False,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Let an archive send what it already has (C-FIND, C-MOVE) to the running node. What is here is not moved again."""
    settings = load(context, config)
    target, store = peer_of(settings, peer), open_store(settings, must_exist=True)
    days = {"since": (since and f"{since:%Y%m%d}") or "", "until": (until and f"{until:%Y%m%d}") or ""}
    query = pulling.StudyQuery(
        **days, modalities=tuple(modality or usual_modalities()), patient_id=patient_id, accession=accession
    )
    holdings = pulling.find(local_entity(settings), target, query)
    series = holdings.series
    for note in holdings.notes:
        errors.print(f"srnode: {note}", markup=False, highlight=False)
    todo = pulling.missing(series, store.instances)
    images = sum(one.images for one in todo)
    say_about = (
        f"{len(series)} series, {len(series) - len(todo)} of them are here, {len(todo)} ({images} images) are not"
    )
    moved: list[pulling.Moved] = []
    if not dry_run and todo:
        with Progress(console=errors, transient=True, disable=as_json or not errors.is_terminal) as bar:
            task = bar.add_task("pulling", total=max(1, images))
            for done in pulling.move(local_entity(settings), target, todo, per_minute, store.instances):
                moved.append(done)
                bar.update(task, advance=done.sent)
    failed = [done for done in moved if done.failed or done.note]
    sent = sum(done.sent for done in moved)
    value = {"found": len(series), "missing": len(todo), "images": images, "sent": sent, "failed": len(failed)}

    def human() -> None:
        say(say_about)
        for done in failed:
            say(
                f"series {done.series.series_uid}: {done.sent} sent, {done.failed} failed: {done.note or 'see its log'}"
            )
        if moved:
            say(f"{sent} images were sent to {settings.node.ae_title}; see `srnode status`")

    show(as_json, value, human)
    if failed or holdings.notes:
        raise typer.Exit(FAILED)
