"""How a role works: the same step again and again, until it is to stop.

A database or a disk that is away for a while ends no role: it waits. Any other fault ends the process, which is started
again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from threading import Event, Thread

from sqlalchemy.exc import SQLAlchemyError

from dicom_sr_node import log

_log = log.get("steps")

Step = Callable[[], bool]  # False: there was nothing to do

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 15.0
PATIENCE_S = 20.0  # with steps that are at work when all is to end; less than what a supervisor has


def repeat(step: Step, stop: Event, poll_s: float) -> None:
    """Until `stop` is set."""
    pause_s = FIRST_PAUSE_S
    while not stop.is_set():
        try:
            if not step():
                stop.wait(poll_s)
            pause_s = FIRST_PAUSE_S
        except (SQLAlchemyError, OSError) as error:
            _log.error("waiting for database or disk", extra={"why": log.kind_of(error), "again_in_s": pause_s})
            stop.wait(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def repeat_all(steps: Mapping[str, Step], stop: Event, poll_s: float) -> None:
    """Each step in a thread of its own, until `stop` is set; the first fault of any of them ends all and is raised.

    A step that does not come to its end in time is left alone: its work goes back by lease, or at the next start.
    """
    faults: list[BaseException] = []

    def run(step: Step) -> None:
        try:
            repeat(step, stop, poll_s)
        except BaseException as error:  # it is raised again below, where it ends the process
            faults.append(error)
            stop.set()

    threads = [Thread(target=run, args=(step,), name=name, daemon=True) for name, step in steps.items()]
    for thread in threads:
        thread.start()
    stop.wait()
    deadline = time.monotonic() + PATIENCE_S
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            _log.warning("not finished", extra={"step": thread.name})
    if faults:
        raise faults[0]
