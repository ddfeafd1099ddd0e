"""The command line: `srnode ...`. Exit codes: 0 done, 1 failed, 2 usage, 3 configuration refused."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dicom_sr_node import __version__, log
from dicom_sr_node import settings as configuration
from dicom_sr_node.errors import ConfigRefused, NodeError, NotFound
from dicom_sr_node.records import State
from dicom_sr_node.settings import Settings

FAILED, REFUSED = 1, 3

cli = typer.Typer(
    help="Receives radiographs, makes them sharper, and sends the results on as new series. Not for diagnosis.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
jobs_cli = typer.Typer(help="The queue: one job for each image that was received.", no_args_is_help=True)
config_cli = typer.Typer(help="The configuration.", no_args_is_help=True)
models_cli = typer.Typer(help="The weights that are installed.", no_args_is_help=True)
cli.add_typer(jobs_cli, name="jobs")
cli.add_typer(config_cli, name="config")
cli.add_typer(models_cli, name="models")

console = Console()
errors = Console(stderr=True)

_CONFIG_HELP = "The configuration file (TOML). Without it: $SRNODE_CONFIG, then the built-in defaults."
Config = Annotated[Path | None, typer.Option("-c", "--config", help=_CONFIG_HELP)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Parent = Annotated[int, typer.Option("--parent", hidden=True)]


class Device(StrEnum):
    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Scale(StrEnum):
    AUTO = "auto"
    X2 = "2"
    X4 = "4"


class LabelKind(StrEnum):
    BURNED = "burned"
    OVERLAY = "overlay"
    NONE = "none"


def main() -> None:
    """The console script."""
    log.start()
    try:
        cli()
    except ConfigRefused as error:
        errors.print(f"srnode: {escape(str(error))}", soft_wrap=True)
        sys.exit(REFUSED)
    except NodeError as error:
        errors.print(f"srnode: {escape(str(error))}", soft_wrap=True)
        sys.exit(FAILED)
    except BrokenPipeError:  # `srnode ... | head`
        sys.stdout = None  # type: ignore[assignment]
        sys.exit(FAILED)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"srnode {__version__}")
        raise typer.Exit


@cli.callback()
def root(
    context: typer.Context,
    config: Config = None,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    context.obj = config


def _config_path(context: typer.Context, own: Path | None) -> Path | None:
    """-c stands before the command or after it; after it wins."""
    before: Path | None = context.find_root().obj
    return own or before


def _settings(context: typer.Context, own: Path | None) -> Settings:
    return configuration.load(_config_path(context, own))


def _print(as_json: bool, value: object, human: Callable[[], None]) -> None:
    if as_json:
        print(json.dumps(value, indent=2, default=str))
    else:
        human()


def _stop_on_signals(parent: int = 0) -> threading.Event:
    """Set on SIGTERM, SIGINT, or when the supervising process is gone."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def watch() -> None:
        while not stop.is_set() and os.getppid() == parent:
            time.sleep(0.5)
        stop.set()

    if parent:
        threading.Thread(target=watch, daemon=True).start()
    return stop


@cli.command()
def serve(context: typer.Context, config: Config = None) -> None:
    """Receive, work and deliver, as one supervised service. Ctrl-C or SIGTERM ends it in good order."""
    from dicom_sr_node import app

    settings = _settings(context, config)
    path = _config_path(context, config)
    raise typer.Exit(app.serve(settings, path.resolve() if path else None, _stop_on_signals()))


@cli.command()
def receive(context: typer.Context, config: Config = None, parent: Parent = 0) -> None:
    """Only the receiver: answers C-ECHO and stores what is sent by C-STORE."""
    from dicom_sr_node import app

    app.receive(_settings(context, config), _stop_on_signals(parent))


@cli.command()
def work(context: typer.Context, config: Config = None, parent: Parent = 0) -> None:
    """Only one worker: takes images from the queue and upscales them. Start as many as the machine can feed."""
    from dicom_sr_node import app

    app.work(_settings(context, config), _stop_on_signals(parent))


@cli.command()
def deliver(context: typer.Context, config: Config = None, parent: Parent = 0) -> None:
    """Only the delivery: sends results to their destinations."""
    from dicom_sr_node import app

    app.deliver(_settings(context, config), _stop_on_signals(parent))


@cli.command()
def demo(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Exit after one image.")] = False,
    config: Config = None,
) -> None:
    """The whole journey on this machine: a node, a synthetic radiograph, a destination. Needs nothing else."""
    from dicom_sr_node import demo as demonstration

    raise typer.Exit(demonstration.run(_settings(context, config).node.data_dir / "demo", once=once, stop=_stop_on_signals()))


@cli.command()
def upscale(
    context: typer.Context,
    inputs: Annotated[list[Path], typer.Argument(metavar="IN...", help="DICOM, PNG, JPEG or TIFF files, or folders of them.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A folder; or a .dcm or .png file for one input.")],
    scale: Annotated[Scale | None, typer.Option(help="How many times larger.")] = None,
    model: Annotated[str | None, typer.Option(help="A name from `srnode models ls`, or the path of a .safetensors file.")] = None,
    device: Annotated[Device | None, typer.Option(help="Where to compute.")] = None,
    label: Annotated[LabelKind | None, typer.Option(help="The visible mark; default: burned into DICOM, none on pictures.")] = None,
    as_json: Json = False,
    config: Config = None,
) -> None:
    """Upscale files without a service. DICOM becomes derived DICOM, pictures become gray PNG of the same bit depth."""
    from dicom_sr_node import tolerance
    from dicom_sr_node.upscale import Batch, expand
    from model.checkpoint import CheckpointError
    from model.upscaler import Upscaler

    tolerance.accept_faults_of_others()
    chosen = _settings(context, config).model
    changes: dict[str, Any] = {}
    if scale is not None:
        changes["scale"] = "auto" if scale == Scale.AUTO else int(scale)
    chosen = chosen.model_copy(update=changes)
    try:
        upscaler = Upscaler.load(model or chosen.name, (device or Device(chosen.device)).value)
    except (CheckpointError, ValueError) as error:
        raise NodeError(str(error)) from error
    files = [path for _, path in expand(inputs)]
    if not files:
        raise NotFound(f"no file in {', '.join(map(str, inputs))}")
    if output.suffix.lower() in (".png", ".dcm") and len(files) > 1:
        raise NodeError(f"{len(files)} files cannot all become {output}; give a folder with -o")
    errors.print(f"{upscaler.card.identity} on {upscaler.device}")
    batch = Batch(upscaler, chosen, label.value if label else None, output)  # type: ignore[arg-type]
    _finish_upscale(batch, inputs, len(files), as_json)


def _finish_upscale(batch: Any, inputs: list[Path], count: int, as_json: bool) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    outcomes = []
    columns = (TextColumn("upscaling"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors) as progress:
        task = progress.add_task("", total=count)
        step = lambda fraction: progress.update(task, completed=len(outcomes) + fraction)  # noqa: E731
        for outcome in batch.run(inputs, datetime.now(UTC), step):
            outcomes.append(outcome)
            progress.update(task, completed=len(outcomes))
            if outcome.result is None:
                errors.print(f"{escape(str(outcome.source))}: {escape(outcome.reason)}", soft_wrap=True)
    failed = [outcome for outcome in outcomes if outcome.result is None]
    rows = [{"source": str(o.source), "result": str(o.result) if o.result else None, "reason": o.reason} for o in outcomes]

    def human() -> None:
        console.print(f"{len(outcomes) - len(failed)} upscaled, {len(failed)} not, in {escape(str(batch.output))}", soft_wrap=True)

    _print(as_json, rows, human)
    if failed:
        raise typer.Exit(FAILED)


@cli.command()
def verify(
    derived: Annotated[Path, typer.Argument(help="A derived DICOM file.")],
    source: Annotated[Path, typer.Argument(help="The DICOM file it was made from.")],
    as_json: Json = False,
) -> None:
    """Hold a derived image against its source: pixels, geometry, identity, provenance; each PASS or FAIL."""
    from dicom_sr_node import tolerance
    from dicom_sr_node.verify import verify as check_all

    tolerance.accept_faults_of_others()
    try:
        checks = check_all(derived, source)
    except OSError as error:
        raise NodeError(str(error)) from error
    passed = all(check.passed for check in checks)
    rows = [{"check": check.name, "passed": check.passed, "found": check.found} for check in checks]
    _print(as_json, {"passed": passed, "checks": rows}, lambda: _print_checks(checks, passed))
    if not passed:
        raise typer.Exit(FAILED)


def _print_checks(checks: list[Any], passed: bool) -> None:
    for check in checks:
        console.print(f"{'PASS' if check.passed else 'FAIL'}  {check.name:18} {escape(check.found)}", soft_wrap=True)
    console.print(f"verify: {'PASS' if passed else 'FAIL'}")


@cli.command()
def status(context: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """What is where: images by state, deliveries by destination, the processes that work on them."""
    from dicom_sr_node import app
    from dicom_sr_node.store.slots import ALIVE_S

    settings = _settings(context, config)
    store = app.store(settings, must_exist=True)
    found = {
        "node": settings.node.ae_title,
        "data_dir": str(settings.node.data_dir),
        "roles": [{**slot, "alive": slot["seen_s_ago"] < ALIVE_S} for slot in store.slots.ls()],
        "jobs": store.jobs.counts(),
        "skipped": store.jobs.skip_reasons(),
        "deliveries": store.deliveries.counts(),
    }
    _print(as_json, found, lambda: _print_status(found))


def _print_status(found: dict[str, Any]) -> None:
    console.print(f"{found['node']}, data in {found['data_dir']}")
    table = _table("role", "alive", "what")
    for slot in found["roles"]:
        table.add_row(slot["name"], "yes" if slot["alive"] else f"no, last seen {slot['seen_s_ago']:.0f} s ago", escape(slot["note"]))
    console.print(table if found["roles"] else "no role is running")
    table = _table("", *(state.value for state in State))
    for name, counts in {"images": found["jobs"], **{f"to {name}": c for name, c in found["deliveries"].items()}}.items():
        table.add_row(name, *(str(counts[state]) for state in State))
    console.print(table)
    for reason, count in found["skipped"].items():
        console.print(f"skipped {count}: {escape(reason)}", soft_wrap=True)


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading)
    return table


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


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

    rows = app.store(_settings(context, config), must_exist=True).jobs.ls(state, limit)

    def human() -> None:
        table = _table("job", "received", "from", "modality", "state", "tries", "reason")
        for row in rows:
            told = (row["id"], _time(row["received_at"]), row["calling_ae"], row["modality"], row["state"], row["attempt"], row["reason"])
            table.add_row(*(escape(str(value)) for value in told))
        console.print(table if rows else "no job")

    _print(as_json, rows, human)


@jobs_cli.command("show")
def jobs_show(context: typer.Context, job: int, as_json: Json = False, config: Config = None) -> None:
    """One job: its image, its result, where that went, and the journal of all that happened."""
    from dicom_sr_node import app

    store = app.store(_settings(context, config), must_exist=True)
    found = store.jobs.get(job)
    output = store.outputs.of_job(job)
    deliveries = store.deliveries.of_output(output.id) if output else []
    journal = store.instances.events(found.instance_id)
    value = {
        "job": vars(found),
        "image": vars(store.instances.get(found.instance_id)),
        "output": vars(output) if output else None,
        "deliveries": [vars(delivery) for delivery in deliveries],
        "journal": journal,
    }

    def human() -> None:
        console.print(f"job {found.id}: {found.state}{f', {found.reason}' if found.reason else ''}", markup=False, soft_wrap=True)
        if output:
            console.print(f"result {output.sop_instance_uid}, x{output.scale} by {output.model}", markup=False, soft_wrap=True)
        for delivery in deliveries:
            console.print(f"to {delivery.destination}: {delivery.state} {delivery.reason}", markup=False, soft_wrap=True)
        for event in journal:
            console.print(f"  {_time(event['at'])}  {event['what']}  {event['text']}", markup=False, soft_wrap=True)

    _print(as_json, value, human)


@jobs_cli.command("retry")
def jobs_retry(context: typer.Context, jobs: list[int], as_json: Json = False, config: Config = None) -> None:
    """Start dead or skipped jobs again; for a job that is done, send again what could not be delivered."""
    from dicom_sr_node import app

    store = app.store(_settings(context, config), must_exist=True)

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

    store = app.store(_settings(context, config), must_exist=True)

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
            console.print(f"job {row['job']}: {row['outcome']}", markup=False, soft_wrap=True)

    _print(as_json, rows, human)
    if failed:
        raise typer.Exit(FAILED)


def _peer(settings: Settings, name: str) -> configuration.Peer:
    if name not in settings.peers:
        known = ", ".join(settings.peers) or "none"
        raise NotFound(f"no peer {name!r} in the configuration ([peers.{name}]); known peers: {known}")
    return settings.peers[name]


@cli.command()
def echo(context: typer.Context, peer: str, as_json: Json = False, config: Config = None) -> None:
    """C-ECHO: does a peer of the configuration answer us?"""
    from dicom_sr_node.deliver import dimse

    settings = _settings(context, config)
    target = _peer(settings, peer)
    started = time.monotonic()
    dimse.echo(settings.node.ae_title, target, settings.delivery)
    took_ms = round((time.monotonic() - started) * 1000)
    _print(as_json, {"peer": peer, "answered": True, "ms": took_ms}, lambda: print(f"{peer} answered in {took_ms} ms"))


@cli.command()
def send(
    context: typer.Context,
    peer: str,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="DICOM files or folders of them.")],
    as_json: Json = False,
    config: Config = None,
) -> None:
    """C-STORE files to a peer of the configuration, as they are."""
    from dicom_sr_node import tolerance
    from dicom_sr_node.deliver.send_files import send_files

    tolerance.accept_faults_of_others()
    settings = _settings(context, config)
    rows = send_files(settings, _peer(settings, peer), paths)
    failed = [row for row in rows if not row["sent"]]

    def human() -> None:
        for row in rows:
            if row["note"]:
                console.print(f"{row['file']}: {row['note']}", markup=False, soft_wrap=True)
        console.print(f"{len(rows) - len(failed)} sent, {len(failed)} not")

    _print(as_json, rows, human)
    if failed:
        raise typer.Exit(FAILED)


@config_cli.command("check")
def config_check(context: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """Is the configuration right? Names every mistake with its key and line; exit code 3 if there is one."""
    _settings(context, config)
    _print(as_json, {"ok": True}, lambda: print("the configuration is right"))


@config_cli.command("show")
def config_show(context: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """The effective configuration: defaults, file and environment together."""
    values = _settings(context, config).model_dump(mode="json")

    def human() -> None:
        for section, content in values.items():
            console.print(f"{section} = {json.dumps(content, ensure_ascii=False)}", markup=False, soft_wrap=True)

    _print(as_json, values, human)


@models_cli.command("ls")
def models_ls(as_json: Json = False) -> None:
    """The weights that are installed, and which of them `auto` means here."""
    from model import checkpoint
    from model.upscaler import choose_device

    automatic = checkpoint.default_name(choose_device("auto"))
    cards = [checkpoint.read_card(checkpoint.find(name)) for name in checkpoint.available()]
    rows = [{**card.as_dict(), "auto": card.name == automatic} for card in cards]

    def human() -> None:
        table = _table("name", "version", "sha256", "scale", "auto")
        for card in cards:
            scale = f"x{card.architecture.scale}"
            table.add_row(card.name, card.version, card.sha256[:12], scale, "yes" if card.name == automatic else "")
        console.print(table if cards else "no weights are installed")

    _print(as_json, rows, human)


@models_cli.command("verify")
def models_verify(
    names: Annotated[list[str] | None, typer.Argument(help="Names or .safetensors files; all installed ones if none is given.")] = None,
    as_json: Json = False,
) -> None:
    """Are the weights those that their cards describe? Exit code 1 if any is not."""
    from model import checkpoint

    rows = []
    for name in names or checkpoint.available():
        try:
            _, card = checkpoint.load(checkpoint.find(name))
            rows.append({"name": name, "ok": True, "found": f"sha256 {card.sha256}"})
        except checkpoint.CheckpointError as error:
            rows.append({"name": name, "ok": False, "found": str(error)})

    def human() -> None:
        for row in rows:
            console.print(f"{'PASS' if row['ok'] else 'FAIL'}  {row['name']}  {row['found']}", markup=False, soft_wrap=True)

    _print(as_json, rows, human)
    if not rows or not all(row["ok"] for row in rows):
        raise typer.Exit(FAILED)
