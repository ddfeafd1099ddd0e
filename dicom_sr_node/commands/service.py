"""`srnode serve` and its roles one by one; `srnode demo`."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Annotated

import typer

from dicom_sr_node import log
from dicom_sr_node.commands.options import Config, Json, config_path, load, say, show
from dicom_sr_node.errors import ConfigRefused, NotFound
from dicom_sr_node.settings import Settings

cli = typer.Typer()

Parent = Annotated[int, typer.Option("--parent", hidden=True)]  # the supervisor's process id


def _become_service(parent: int = 0) -> threading.Event:
    """Make files private; the event is set on SIGTERM, SIGINT, SIGHUP, or when the supervising process is gone."""
    os.umask(0o077)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())

    def watch() -> None:
        while not stop.is_set() and os.getppid() == parent:
            time.sleep(0.5)
        stop.set()

    if parent:
        threading.Thread(target=watch, daemon=True).start()
    return stop


def _fresh(role: str, context: typer.Context, config: Config) -> Callable[[], Settings | None]:
    """From now on SIGHUP asks for the configuration to be read again; one that is refused changes nothing."""
    asked = threading.Event()
    signal.signal(signal.SIGHUP, lambda *_: asked.set())

    def fresh() -> Settings | None:
        if not asked.is_set():
            return None
        asked.clear()
        try:
            return load(context, config)
        except ConfigRefused as error:
            log.get(role).error("the new configuration is refused, the old one stays", extra={"why": error})
            return None

    return fresh


def _patience_s(parent: int) -> float:
    """Under a supervisor the last process of a role may still be ending; by hand a taken slot is a mistake."""
    from dicom_sr_node.serve import DRAIN_S

    return DRAIN_S if parent else 0.0


@cli.command()
def serve(context: typer.Context, config: Config = None) -> None:
    """Receive, work and deliver, as one supervised service. Ctrl-C or SIGTERM ends it in good order."""
    from dicom_sr_node import app

    settings = load(context, config)
    path = config_path(context, config)
    stop = _become_service()
    raise typer.Exit(app.serve(settings, path.resolve() if path else None, stop, _fresh("serve", context, config)))


@cli.command("reload")
def reload_(context: typer.Context, as_json: Json = False, config: Config = None) -> None:
    """Let the running node take up its changed configuration. No association is dropped; SIGHUP does the same."""
    from dicom_sr_node import locks

    settings = load(context, config)  # says what is wrong here, and not in a log
    pids = locks.holders(settings.node.data_dir, "serve")
    if not pids:
        raise NotFound(f"no `srnode serve` works in {settings.node.data_dir}")
    for pid in pids:
        os.kill(pid, signal.SIGHUP)
    show(as_json, {"reloaded": pids}, lambda: say("the node takes up its configuration"))


@cli.command()
def receive(context: typer.Context, config: Config = None, parent: Parent = 0) -> None:
    """Only the receiver: answers C-ECHO and stores what is sent by C-STORE."""
    from dicom_sr_node import app

    settings, stop = load(context, config), _become_service(parent)
    app.receive(settings, stop, _patience_s(parent), _fresh("receive", context, config))


@cli.command()
def work(context: typer.Context, config: Config = None, parent: Parent = 0) -> None:
    """Only one worker: takes images from the queue and upscales them. Start as many as the machine can feed."""
    from dicom_sr_node import app

    app.work(load(context, config), _become_service(parent), _patience_s(parent))


@cli.command()
def deliver(context: typer.Context, config: Config = None, parent: Parent = 0) -> None:
    """Only the delivery: sends results to their destinations."""
    from dicom_sr_node import app

    app.deliver(load(context, config), _become_service(parent), _patience_s(parent))


@cli.command()
def web(context: typer.Context, config: Config = None, parent: Parent = 0) -> None:
    """Only the dashboard and the REST interface."""
    from dicom_sr_node import app

    app.web(load(context, config), _become_service(parent), _patience_s(parent))


@cli.command()
def demo(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Exit after one image.")] = False,
    config: Config = None,
) -> None:
    """The whole journey on this machine: a node, a synthetic radiograph, a destination. Needs nothing else."""
    from dicom_sr_node import demo as demonstration

    raise typer.Exit(demonstration.run(load(context, config).node.data_dir / "demo", once=once, stop=_become_service()))
