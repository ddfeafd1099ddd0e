"""`srnode jobs`: the queue."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from textwrap import shorten
from typing import Annotated

import typer
from rich.markup import escape

from dicom_sr_node.actions.actor import Actor
from dicom_sr_node.actions.images import ActionOutcome, ImageAction, ImageActions, Outcome
from dicom_sr_node.commands.options import (
    FAILED,
    Config,
    Json,
    audit_of,
    console,
    load,
    local,
    note,
    open_store,
    say,
    show,
    table,
    who,
)
from dicom_sr_node.config.settings import Settings
from dicom_sr_node.derive.rejection import RejectionReason
from dicom_sr_node.domain.errors import NotFound
from dicom_sr_node.domain.image_status import ImageStatus
from dicom_sr_node.domain.records import JobState, OutputKind
from dicom_sr_node.spool import Spool, write
from dicom_sr_node.store.database import Store

cli = typer.Typer(help="The queue: one job for each image that was received.", no_args_is_help=True)

_MOST_REASON = 80  # characters in a list


class StateOption(StrEnum):
    """What `--state` takes: the status of an image, or the state of its job."""

    WAITING = "waiting"
    WORKING = "working"
    ON_ITS_WAY = "on its way"
    DELIVERED = "delivered"
    SKIPPED = "skipped"
    DEAD = "dead"
    READY = "ready"
    RUNNING = "running"
    SENT = "sent"
    DONE = "done"

    @property
    def statuses(self) -> tuple[ImageStatus, ...]:
        """Which images are meant."""
        return _OF_JOB_STATES.get(self) or (ImageStatus(self.value),)


_OF_JOB_STATES = {
    StateOption.READY: (ImageStatus.WAITING,),
    StateOption.RUNNING: (ImageStatus.WORKING,),
    StateOption.SENT: (ImageStatus.ON_ITS_WAY,),
    StateOption.DONE: (ImageStatus.ON_ITS_WAY, ImageStatus.DELIVERED),
}


@cli.command("ls")
def jobs_ls(
    context: typer.Context,
    state: Annotated[StateOption | None, typer.Option(help="Only images in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = 50,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """The newest jobs."""
    store = open_store(load(context, config), must_exist=True)
    rows = store.jobs.ls(state.statuses if state else (), limit)

    def human() -> None:
        jobs_shown = table("job", "received", "from", "modality", "state", "tries", "reason")
        for row in rows:
            cells = (
                row["id"],
                local(row["received_at"]),
                row["calling_ae"],
                row["modality"],
                row["status"],
                row["attempt"],
                shorten(row["reason"], _MOST_REASON, placeholder=" ..."),  # `jobs show` has all of it
            )
            jobs_shown.add_row(*(escape(str(cell)) for cell in cells))
        console.print(jobs_shown if rows else "no job")

    show(as_json, rows, human)


@cli.command("show")
def jobs_show(context: typer.Context, job: int, as_json: Json = False, config: Config = None) -> None:
    """One job: its image, its result, where that went, and the journal of all that happened."""
    store = open_store(load(context, config), must_exist=True)
    record = store.jobs.get(job)
    outputs = store.outputs.of_job(job)
    deliveries = [(output, delivery) for output in outputs for delivery in store.deliveries.of_output(output.id)]
    journal = store.instances.events(record.instance_id)
    value = {
        "job": vars(record),
        "image": vars(store.instances.get(record.instance_id)),
        "quality": json.loads(record.quality) if record.quality else None,
        "outputs": [vars(output) for output in outputs],
        "deliveries": [vars(delivery) for _, delivery in deliveries],
        "journal": journal,
    }

    def human() -> None:
        say(f"job {record.id}: {record.state}{f', {record.reason}' if record.reason else ''}")
        for output in outputs:
            say(f"{output.kind} {output.sop_instance_uid}, x{output.scale} by {output.model}")
        if record.quality:
            say(f"quality: {', '.join(f'{name} {value}' for name, value in json.loads(record.quality).items())}")
        for output, delivery in deliveries:
            say(f"{output.kind} to {delivery.destination}: {delivery.state} {delivery.reason}")
        for event in journal:
            say(f"  {local(event['at'])}  {event['what']}  {event['text']}")

    show(as_json, value, human)


@cli.command("retry")
def jobs_retry(
    context: typer.Context,
    jobs: list[int],
    again: Annotated[bool, typer.Option("--again", help="Also what was delivered: the same bytes.")] = False,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Start dead or skipped jobs again; for a job that is done, send at once what is dead or waits."""

    def action_for(store: Store, job: int) -> ImageAction:
        is_made = store.jobs.get(job).state == JobState.DONE
        return ImageAction.SEND_AGAIN if again and is_made else ImageAction.RETRY

    _act(context, config, as_json, jobs, action_for)


@cli.command("cancel")
def jobs_cancel(context: typer.Context, jobs: list[int], as_json: Json = False, config: Config = None) -> None:
    """Take waiting or running jobs off the queue; the images stay."""
    _act(context, config, as_json, jobs, lambda store, job: ImageAction.CANCEL)


@cli.command("hold")
def jobs_hold(
    context: typer.Context,
    jobs: list[int],
    release: Annotated[bool, typer.Option("--release", help="No longer.")] = False,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Keep the images of these jobs and their results for ever: retention does not remove them."""
    action = ImageAction.RELEASE if release else ImageAction.HOLD
    _act(context, config, as_json, jobs, lambda store, job: action)


@cli.command("reject")
def jobs_reject(
    context: typer.Context,
    jobs: list[int],
    because: Annotated[RejectionReason, typer.Option(help="Of a wrong worklist entry, or past retention.")] = (
        RejectionReason.WORKLIST
    ),
    dismiss: Annotated[bool, typer.Option("--dismiss", help="Send nothing: the results may stay.")] = False,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Ask every archive that has results of these jobs to hide them: a rejection note (Key Object Selection)."""
    actions, actor = _actions(load(context, config)), Actor(who())

    def one(job: int) -> str:
        if dismiss:
            actions.dismiss(job, actor)
            return "dismissed"
        return words(actions.reject(job, because, actor))

    _for_each(jobs, one, as_json)


@cli.command("export")
def jobs_export(
    context: typer.Context,
    jobs: list[int],
    output: Annotated[Path, typer.Option("-o", "--output", help="A folder.")],
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Copy the images of these jobs, and their results, as DICOM files: job-N.dcm, job-N-derived.dcm."""
    settings = load(context, config)
    store = open_store(settings, must_exist=True)
    spool = Spool(settings.node.spool, "export")

    def one(job: int) -> str:
        files = {f"job-{job}.dcm": spool.path("in", store.instances.get(store.jobs.get(job).instance_id).file)}
        for output_row in store.outputs.of_job(job):
            kind = "derived" if output_row.kind == OutputKind.IMAGE else output_row.kind.replace(" ", "-")
            files[f"job-{job}-{kind}.dcm"] = spool.path("outbox", output_row.file)
        try:
            for name, source in files.items():
                write(output / name, source.read_bytes())
                (output / name).chmod(0o600)
        except FileNotFoundError:
            raise NotFound(f"job {job}: its files are gone (purged, or lost: see `srnode fsck`)") from None
        note(settings, store, f"exported image {store.jobs.get(job).instance_id}")
        return f"{', '.join(files)} in {output}"

    _for_each(jobs, one, as_json)


_WORDS = {
    Outcome.QUEUED: "ready",
    Outcome.CANCELLED: "cancelled",
    Outcome.FIRST: "next",
    Outcome.HELD: "held",
    Outcome.RELEASED: "no longer held",
    Outcome.BEING_SENT: "it is being sent just now",
    Outcome.ALL_DELIVERED: "everything of it is delivered; `--again` sends it once more",
    Outcome.NOTHING_DELIVERED: "nothing of it was delivered yet; without `--again` what waits is tried at once",
    Outcome.AWAITING_COMMITMENT: "it was sent; the peer has not committed to it yet",
}


def words(outcome: ActionOutcome) -> str:
    """Raises NotFound, with the words, where the image's state did not allow it."""
    if outcome.outcome is Outcome.REJECTING:
        return f"a rejection note goes to {outcome.deliveries} of those who have its results"
    if outcome.deliveries:
        count = outcome.deliveries
        return "1 delivery is tried at once" if count == 1 else f"{count} deliveries are tried at once"
    if outcome.is_refused:
        raise NotFound(_WORDS[outcome.outcome])
    return _WORDS[outcome.outcome]


def _act(
    context: typer.Context,
    config: Path | None,
    as_json: bool,
    jobs: list[int],
    action_for: Callable[[Store, int], ImageAction],
) -> None:
    """Act on each job, under the name of whoever types this."""
    settings = load(context, config)
    store = open_store(settings, must_exist=True)
    actions = _actions(settings, store)
    _for_each(jobs, lambda job: words(actions.act(action_for(store, job), job, Actor(who()))), as_json)


def _actions(settings: Settings, store: Store | None = None) -> ImageActions:
    store = store or open_store(settings, must_exist=True)
    return ImageActions(store, audit_of(settings), Spool(settings.node.spool, "cli"))


def _for_each(jobs: list[int], act: Callable[[int], str], as_json: bool) -> None:
    """Act on each job; a refusal for one does not keep the others from it."""
    rows, failed = [], False
    for job in jobs:
        try:
            rows.append({"job": job, "outcome": act(job)})
        except NotFound as error:
            rows.append({"job": job, "outcome": str(error)})
            failed = True

    def human() -> None:
        for row in rows:
            say(f"job {row['job']}: {row['outcome']}")

    show(as_json, rows, human)
    if failed:
        raise typer.Exit(FAILED)
