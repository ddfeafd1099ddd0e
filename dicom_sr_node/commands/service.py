"""`srnode serve` and its roles one by one; `srnode demo`."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Annotated

import typer

from dicom_sr_node.commands.options import Config, config_path, load

cli = typer.Typer()

Parent = Annotated[int, typer.Option("--parent", hidden=True)]  # the supervisor's process id


def _become_service(parent: int = 0) -> threading.Event:
    """Make files private; the event is set on SIGTERM, SIGINT, or when the supervising process is gone."""
    os.umask(0o077)
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
    raise typer.Exit(app.serve(settings, path.resolve() if path else None, _become_service()))


@cli.command()
def receive(context: typer.Context, config: Config = None, parent: Parent = 0) -> None:
    """Only the receiver: answers C-ECHO and stores what is sent by C-STORE."""
    from dicom_sr_node import app

    app.receive(load(context, config), _become_service(parent), _patience_s(parent))


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

    app.web(load(context, config), _become_service(parent), _patience_s(parent), config_path(context, config))


@cli.command()
def demo(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Exit after one image.")] = False,
    config: Config = None,
) -> None:
    """The whole journey on this machine: a node, a synthetic radiograph, a destination. Needs nothing else."""
    from dicom_sr_node import demo as demonstration

    raise typer.Exit(demonstration.run(load(context, config).node.data_dir / "demo", once=once, stop=_become_service()))
