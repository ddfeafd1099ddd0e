"""`srnode status` and `srnode jobs`: what is where and why."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.markup import escape

from dicom_sr_node.commands.options import FAILED, Config, Json, console, load, local, say, show, table
from dicom_sr_node.errors import NotFound
from dicom_sr_node.records import State

cli = typer.Typer()
jobs_cli = typer.Typer(help="The queue: one job for each image that was received.", no_args_is_help=True)


@cli.command()
def status(context: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """What is where: images by state, deliveries by destination, the processes that work on them."""
    from dicom_sr_node import app
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
    }
    show(as_json, found, lambda: _print_status(found))


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
                row["reason"],
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
def jobs_retry(context: typer.Context, jobs: list[int], as_json: Json = False, config: Config = None) -> None:
    """Start dead or skipped jobs again; for a job that is done, send again what could not be delivered."""
    from dicom_sr_node import app

    store = app.store(load(context, config), must_exist=True)

    def one(job: int) -> str:
        if store.jobs.get(job).state == State.DONE:
            count = store.deliveries.retry(job)
            if not count:
                raise NotFound(f"job {job} is done and none of its deliveries is dead")
            return f"{count} deliveries will be tried again"
        store.jobs.retry(job)
        return "ready"

    _for_each(jobs, one, as_json)


@jobs_cli.command("cancel")
def jobs_cancel(context: typer.Context, jobs: list[int], as_json: Json = False, config: Config = None) -> None:
    """Take waiting or running jobs off the queue; the images stay."""
    from dicom_sr_node import app

    store = app.store(load(context, config), must_exist=True)

    def one(job: int) -> str:
        store.jobs.cancel(job)
        return "cancelled"

    _for_each(jobs, one, as_json)


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
