"""`srnode echo` and `srnode send`: trying out the peers of the configuration."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from dicom_sr_node.commands.options import FAILED, Config, Json, errors, load, peers_typed, say, show
from dicom_sr_node.errors import NotFound
from dicom_sr_node.settings import Peer, Settings

cli = typer.Typer()


def _peer(settings: Settings, name: str) -> Peer:
    if name not in settings.peers:
        known = ", ".join(settings.peers) or "none"
        raise NotFound(f"no peer {name!r} in the configuration ([peers.{name}]); known peers: {known}")
    return settings.peers[name]


@cli.command()
def echo(
    context: typer.Context,
    peer: Annotated[str, typer.Argument(autocompletion=peers_typed)],
    as_json: Json = False,
    config: Config = None,
) -> None:
    """C-ECHO: does a peer of the configuration answer us?"""
    from dicom_sr_node.deliver import dimse

    settings = load(context, config)
    target = _peer(settings, peer)
    started = time.monotonic()
    dimse.echo(settings, target)
    took_ms = round((time.monotonic() - started) * 1000)
    show(as_json, {"peer": peer, "answered": True, "ms": took_ms}, lambda: print(f"{peer} answered in {took_ms} ms"))


@cli.command()
def send(
    context: typer.Context,
    peer: Annotated[str, typer.Argument(autocompletion=peers_typed)],
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="DICOM files or folders of them.")],
    as_json: Json = False,
    config: Config = None,
) -> None:
    """C-STORE files to a peer of the configuration, as they are."""
    from dicom_sr_node import tolerance
    from dicom_sr_node.deliver.send_files import send_files

    tolerance.accept_faults_of_others()
    settings = load(context, config)
    rows = send_files(settings, _peer(settings, peer), paths)
    failed = [row for row in rows if not row["sent"]]

    def human() -> None:
        for row in rows:
            if row["note"]:
                say(f"{row['file']}: {row['note']}")
        say(f"{len(rows) - len(failed)} sent, {len(failed)} not")

    show(as_json, rows, human)
    if failed:
        raise typer.Exit(FAILED)


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
    from rich.progress import Progress

    from dicom_sr_node import app
    from dicom_sr_node import pull as pulling

    settings = load(context, config)
    target, store = _peer(settings, peer), app.store(settings, must_exist=True)
    days = {"since": (since and f"{since:%Y%m%d}") or "", "until": (until and f"{until:%Y%m%d}") or ""}
    wanted = pulling.Wanted(
        **days, modalities=tuple(modality or ("CR", "DX")), patient_id=patient_id, accession=accession
    )
    found = pulling.find(settings, target, wanted)
    todo = pulling.missing(found, store.instances)
    images = sum(series.images for series in todo)
    say_about = f"{len(found)} series, {len(found) - len(todo)} of them are here, {len(todo)} ({images} images) are not"
    moved: list[pulling.Moved] = []
    if not dry_run and todo:
        with Progress(console=errors, transient=True, disable=as_json or not errors.is_terminal) as bar:
            task = bar.add_task("pulling", total=max(1, images))
            for done in pulling.move(settings, target, todo, per_minute):
                moved.append(done)
                bar.update(task, advance=done.sent)
    failed = [done for done in moved if done.failed or done.note]
    sent = sum(done.sent for done in moved)
    value = {"found": len(found), "missing": len(todo), "images": images, "sent": sent, "failed": len(failed)}

    def human() -> None:
        say(say_about)
        for done in failed:
            say(f"series {done.series.series_uid}: {done.sent} sent, {done.failed} failed {done.note}")
        if moved:
            say(f"{sent} images were sent to {settings.node.ae_title}; see `srnode status`")

    show(as_json, value, human)
    if failed:
        raise typer.Exit(FAILED)
