"""`srnode status`: what is where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer
from rich.markup import escape

from dicom_sr_node.commands.options import (
    Config,
    Json,
    console,
    load,
    local,
    open_store,
    say,
    show,
    table,
)
from dicom_sr_node.domain.image_status import ImageStatus
from dicom_sr_node.domain.records import JobState
from dicom_sr_node.monitor import health
from dicom_sr_node.receive.callers import line_to_add
from dicom_sr_node.spool import is_full
from dicom_sr_node.store.processes import ALIVE_S

cli = typer.Typer()

SHOWN_REFUSALS = 10
ENOUGH = "enough room"


@cli.command()
def status(context: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """What is where: images by state, deliveries by destination, the processes that work on them."""
    settings = load(context, config)
    store = open_store(settings, must_exist=True)
    state_of_health = health.examine(settings, store)
    report = {
        "node": settings.node.ae_title,
        "data_dir": str(settings.node.data_dir),
        "roles": [{**process, "alive": process["seen_s_ago"] < ALIVE_S} for process in state_of_health.processes],
        "images": dict(state_of_health.counts),
        "jobs": store.jobs.counts(),
        "skipped": store.jobs.skip_reasons(),
        "deliveries": store.deliveries.counts(),
        "destinations": store.destinations.ls(),
        "uid_conflicts": store.instances.conflicts(),
        "condition": [vars(problem) for problem in state_of_health.problems],
        "disk": _room(settings.node.spool, settings.disk.reserve_mb),
        "refused": [
            {
                **caller,
                "line_to_add": line_to_add(caller["calling_ae"], caller["address"], caller["why"], settings.peers),
            }
            for caller in store.refused.ls()[:SHOWN_REFUSALS]
        ],
    }
    show(as_json, report, lambda: _print_status(report))


def _room(folder: Path, reserve_mb: int) -> str:
    try:
        return is_full(folder, reserve_mb) or ENOUGH
    except OSError as error:
        return f"{folder}: {error.strerror}"


def _print_status(report: dict[str, Any]) -> None:
    console.print(f"{report['node']}, data in {report['data_dir']}")
    processes = table("role", "process", "alive", "what")
    for process in report["roles"]:
        processes.add_row(
            process["name"],
            str(process["pid"]),
            "yes" if process["alive"] else f"no, last seen {process['seen_s_ago']:.0f} s ago",
            escape(process["note"]),
        )
    console.print(processes if report["roles"] else "no role is running")
    _print_counts("images", ImageStatus, {"": report["images"]})
    _print_counts("deliveries", JobState, {f"to {name}": counts for name, counts in report["deliveries"].items()})
    for reason, count in report["skipped"].items():
        console.print(f"skipped {count}: {escape(reason)}", soft_wrap=True)
    for name, fares in report["destinations"].items():
        if fares["failures"]:
            say(f"{name} failed {fares['failures']} times, again in {fares['again_in_s']:.0f} s: {fares['reason']}")
    if conflicts := len(report["uid_conflicts"]):
        say(f"{conflicts} SOP Instance UIDs came with different content; both are kept, see jobs show")
    for problem in report["condition"]:
        say(f"TROUBLE: {problem['text']}: {problem['remedy']}")
    for caller in report["refused"]:
        _print_refusal(caller)


def _print_counts(what: str, columns: Iterable[StrEnum], rows: Mapping[str, Mapping[Any, int]]) -> None:
    """One table of counts; nothing where there is no row."""
    columns = list(columns)
    counts_shown = table(what, *(column.value for column in columns))
    for name, counts in rows.items():
        counts_shown.add_row(name, *(str(counts[column]) for column in columns))
    if rows:
        console.print(counts_shown)


def _print_refusal(caller: Mapping[str, Any]) -> None:
    say(f"refused {caller['times']} times: {caller['calling_ae']!r} from {caller['address']}: {caller['why']}")
    if caller["line_to_add"]:
        say(f"  last at {local(caller['last_at'])}; to allow it, in the configuration:")
        for line in caller["line_to_add"].splitlines():
            say(f"    {line}")
