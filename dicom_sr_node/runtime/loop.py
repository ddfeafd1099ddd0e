"""How a role works: the same step again and again, until it is to stop.

A database or a disk that is away for a while ends no role: it waits. Any other fault ends the process, which is started
again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from threading import Event, Thread

from sqlalchemy.exc import SQLAlchemyError

from dicom_sr_node.runtime import log
from dicom_sr_node.runtime.backoff import RetryPolicy

_log = log.get("steps")

Step = Callable[[], bool]  # False: there was nothing to do

AWAY = RetryPolicy(first_s=1.0, longest_s=15.0)  # a database or a disk
PATIENCE_S = 20.0  # with steps that are at work when all is to end; less than what a supervisor has


def poll_forever(step: Step, stop: Event, poll_s: float) -> None:
    """Until `stop` is set."""
    failures = 0
    while not stop.is_set():
        try:
            if not step():
                stop.wait(poll_s)
            failures = 0
        except (SQLAlchemyError, OSError) as error:
            pause_s = AWAY.pause_s(failures)
            failures += 1
            _log.error("waiting for database or disk", extra={"why": log.kind_of(error), "again_in_s": pause_s})
            stop.wait(pause_s)


def poll_all_forever(steps: Mapping[str, Step], stop: Event, poll_s: float) -> None:
    """Each step in a thread of its own, until `stop` is set; the first fault of any of them ends all and is raised.

    A step that does not come to its end in time is left alone: its work goes back by lease, or at the next start.
    """
    faults: list[BaseException] = []

    def run(step: Step) -> None:
        try:
            poll_forever(step, stop, poll_s)
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
