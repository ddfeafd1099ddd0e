"""What the commands that run a role have in common: signals, private files, the configuration read again."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Annotated

import typer

from dicom_sr_node.commands.options import Config, load
from dicom_sr_node.config.settings import Settings
from dicom_sr_node.domain.errors import ConfigRefused
from dicom_sr_node.runtime import log
from dicom_sr_node.runtime.process_supervisor import DRAIN_S

Parent = Annotated[int, typer.Option("--parent", hidden=True)]  # the supervisor's process id


def become_service(parent: int = 0) -> threading.Event:
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


def reloads(role: str, context: typer.Context, config: Config) -> Callable[[], Settings | None]:
    """From now on SIGHUP asks for the configuration to be read again; one that is refused changes nothing."""
    asked = threading.Event()
    signal.signal(signal.SIGHUP, lambda *_: asked.set())

    def reload() -> Settings | None:
        if not asked.is_set():
            return None
        asked.clear()
        try:
            return load(context, config)
        except ConfigRefused as error:
            log.get(role).error("the new configuration is refused, the old one stays", extra={"why": error})
            return None

    return reload


def patience_s(parent: int) -> float:
    """Under a supervisor the last process of a role may still be ending; by hand a taken slot is a mistake."""
    return DRAIN_S if parent else 0.0
