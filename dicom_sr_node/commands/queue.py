"""`srnode status` and `srnode jobs`: what is where and why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from dicom_sr_node.commands.options import FAILED, Config, Json, console, load, local, note, say, show, table, who
from dicom_sr_node.errors import NotFound
from dicom_sr_node.records import Kind, State

if TYPE_CHECKING:
    from dicom_sr_node.app import Store

cli = typer.Typer()
_MOST_REASON = 80  # characters in a list
SHOWN_REFUSALS = 10
ENOUGH = "enough room"
jobs_cli = typer.Typer(help="The queue: one job for each image that was received.", no_args_is_help=True)


@cli.command()
def status(context: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """What is where: images by state, deliveries by destination, the processes that work on them."""
    from dicom_sr_node import app, condition
    from dicom_sr_node.receive.callers import line_to_add
    from dicom_sr_node.store.slots import ALIVE_S

    settings = load(context, config)
    store = app.store(settings, must_exist=True)
    found = {
        "node": settings.node.ae_title,
        "data_dir": str(settings.node.data_dir),
        "roles": [{**slot, "alive": slot["seen_s_ago"] < ALIVE_S} for slot in store.slots.ls()],
        "jobs": store.jobs.counts(),
        "skipped": store.jobs.skip_reasons(),
        "deliveries": store.deliveries.counts(),
        "destinations": store.destinations.ls(),
        "uid_conflicts": store.instances.conflicts(),
        "condition": [vars(trouble) for trouble in condition.look(settings, store).troubles],
        "disk": _room(settings.node.spool, settings.disk.reserve_mb),
        "refused": [
            {
                **caller,
                "line_to_add": line_to_add(caller["calling_ae"], caller["address"], caller["why"], settings.peers),
            }
            for caller in store.refused.ls()[:SHOWN_REFUSALS]
        ],
    }
    show(as_json, found, lambda: _print_status(found))


def _room(folder: Path, reserve_mb: int) -> str:
    from dicom_sr_node.spool import is_full

    try:
        return is_full(folder, reserve_mb) or ENOUGH
    except OSError as error:
        return f"{folder}: {error.strerror}"


def _print_status(found: dict[str, Any]) -> None:
    console.print(f"{found['node']}, data in {found['data_dir']}")
    rows_shown = table("role", "process", "alive", "what")
    for slot in found["roles"]:
        rows_shown.add_row(
            slot["name"],
            str(slot["pid"]),
            "yes" if slot["alive"] else f"no, last seen {slot['seen_s_ago']:.0f} s ago",
            escape(slot["note"]),
        )
    console.print(rows_shown if found["roles"] else "no role is running")
    rows_shown = table("", *(state.value for state in State))
    for name, counts in {
        "images": found["jobs"],
        **{f"to {name}": c for name, c in found["deliveries"].items()},
    }.items():
        rows_shown.add_row(name, *(str(counts[state]) for state in State))
    console.print(rows_shown)
    for reason, count in found["skipped"].items():
        console.print(f"skipped {count}: {escape(reason)}", soft_wrap=True)
    for name, fares in found["destinations"].items():
        if fares["failures"]:
            say(f"{name} failed {fares['failures']} times, again in {fares['again_in_s']:.0f} s: {fares['reason']}")
    if found["uid_conflicts"]:
        say(
            f"{len(found['uid_conflicts'])} SOP Instance UIDs came with different content; both are kept, see jobs show"
        )
    for trouble in found["condition"]:
        say(f"TROUBLE: {trouble['text']}: {trouble['remedy']}")
    for caller in found["refused"]:
        say(f"refused {caller['times']} times: {caller['calling_ae']!r} from {caller['address']}: {caller['why']}")
        if caller["line_to_add"]:
            say(f"  last at {local(caller['last_at'])}; to allow it, in the configuration:")
            for line in caller["line_to_add"].splitlines():
                say(f"    {line}")


@jobs_cli.command("ls")
def jobs_ls(
    context: typer.Context,
    state: Annotated[State | None, typer.Option(help="Only jobs in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = 50,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """The newest jobs."""
    from dicom_sr_node import app

    rows = app.store(load(context, config), must_exist=True).jobs.ls(state, limit)

    def human() -> None:
        rows_shown = table("job", "received", "from", "modality", "state", "tries", "reason")
        for row in rows:
            told = (
                row["id"],
                local(row["received_at"]),
                row["calling_ae"],
                row["modality"],
                row["state"],
                row["attempt"],
                shorten(row["reason"], _MOST_REASON, placeholder=" ..."),  # `jobs show` has all of it
            )
            rows_shown.add_row(*(escape(str(value)) for value in told))
        console.print(rows_shown if rows else "no job")

    show(as_json, rows, human)


@jobs_cli.command("show")
def jobs_show(context: typer.Context, job: int, as_json: Json = False, config: Config = None) -> None:
    """One job: its image, its result, where that went, and the journal of all that happened."""
    from dicom_sr_node import app

    store = app.store(load(context, config), must_exist=True)
    found = store.jobs.get(job)
    outputs = store.outputs.of_job(job)
    deliveries = [(output, delivery) for output in outputs for delivery in store.deliveries.of_output(output.id)]
    journal = store.instances.events(found.instance_id)
    value = {
        "job": vars(found),
        "image": vars(store.instances.get(found.instance_id)),
        "quality": json.loads(found.quality) if found.quality else None,
        "outputs": [vars(output) for output in outputs],
        "deliveries": [vars(delivery) for _, delivery in deliveries],
        "journal": journal,
    }

    def human() -> None:
        say(f"job {found.id}: {found.state}{f', {found.reason}' if found.reason else ''}")
        for output in outputs:
            say(f"{output.kind} {output.sop_instance_uid}, x{output.scale} by {output.model}")
        if found.quality:
            say(f"quality: {', '.join(f'{name} {value}' for name, value in json.loads(found.quality).items())}")
        for output, delivery in deliveries:
            say(f"{output.kind} to {delivery.destination}: {delivery.state} {delivery.reason}")
        for event in journal:
            say(f"  {local(event['at'])}  {event['what']}  {event['text']}")

    show(as_json, value, human)


@jobs_cli.command("retry")
def jobs_retry(
    context: typer.Context,
    jobs: list[int],
    again: Annotated[bool, typer.Option("--again", help="Also what was delivered: the same bytes.")] = False,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Start dead or skipped jobs again; for a job that is done, send at once what is dead or waits."""

    def one(store: Store, job: int) -> str:
        if store.jobs.get(job).state == State.DONE:
            send = store.deliveries.repeat if again else store.deliveries.retry
            count = send(job, f"by {who()}")
            if not count and store.deliveries.is_sending(job):
                return "it is being sent just now"
            if not count:
                raise NotFound("everything of it is delivered; `--again` sends it once more")
            return "1 delivery is tried at once" if count == 1 else f"{count} deliveries are tried at once"
        store.jobs.retry(job, f"by {who()}")
        return "ready"

    _change(context, config, as_json, jobs, "retry", one)


@jobs_cli.command("cancel")
def jobs_cancel(context: typer.Context, jobs: list[int], as_json: Json = False, config: Config = None) -> None:
    """Take waiting or running jobs off the queue; the images stay."""

    def one(store: Store, job: int) -> str:
        store.jobs.cancel(job, f"by {who()}")
        return "cancelled"

    _change(context, config, as_json, jobs, "cancel", one)


@jobs_cli.command("hold")
def jobs_hold(
    context: typer.Context,
    jobs: list[int],
    release: Annotated[bool, typer.Option("--release", help="No longer.")] = False,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Keep the images of these jobs and their results for ever: retention does not remove them."""

    def one(store: Store, job: int) -> str:
        store.instances.hold(store.jobs.get(job).instance_id, not release, f"by {who()}")
        return "no longer held" if release else "held"

    _change(context, config, as_json, jobs, "release" if release else "hold", one)


@jobs_cli.command("export")
def jobs_export(
    context: typer.Context,
    jobs: list[int],
    output: Annotated[Path, typer.Option("-o", "--output", help="A folder.")],
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Copy the images of these jobs, and their results, as DICOM files: job-N.dcm, job-N-derived.dcm."""
    from dicom_sr_node import app
    from dicom_sr_node.spool import Spool, write

    settings = load(context, config)
    store = app.store(settings, must_exist=True)
    spool = Spool(settings.node.spool, "export")

    def one(job: int) -> str:
        files = {f"job-{job}.dcm": spool.path("in", store.instances.get(store.jobs.get(job).instance_id).file)}
        for made in store.outputs.of_job(job):
            kind = "derived" if made.kind == Kind.IMAGE else made.kind.replace(" ", "-")
            files[f"job-{job}-{kind}.dcm"] = spool.path("outbox", made.file)
        try:
            for name, source in files.items():
                write(output / name, source.read_bytes())
                (output / name).chmod(0o600)
        except FileNotFoundError:
            raise NotFound(f"job {job}: its files are gone (purged, or lost: see `srnode fsck`)") from None
        note(settings, store, f"exported image {store.jobs.get(job).instance_id}")
        return f"{', '.join(files)} in {output}"

    _for_each(jobs, one, as_json)


def _change(
    context: typer.Context,
    config: Path | None,
    as_json: bool,
    jobs: list[int],
    what: str,
    act: Callable[[Store, int], str],
) -> None:
    """Act on each job, under the name of whoever types this."""
    from dicom_sr_node import app

    settings = load(context, config)
    store = app.store(settings, must_exist=True)

    def noted(job: int) -> str:
        told = act(store, job)
        note(settings, store, f"{what} image {store.jobs.get(job).instance_id}")
        return told

    _for_each(jobs, noted, as_json)


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
