"""In-process timers.

Each tick looks at what is there and does what is due, so a missed or doubled tick does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

Tick = Callable[[], object]


def running(ticks: Mapping[str, tuple[float, Tick]]) -> BackgroundScheduler:
    """A running scheduler: name -> (seconds between two ticks, what to do).

    Memory job store only: the queue is our own table.
    """
    scheduler = BackgroundScheduler(
        executors={"default": ThreadPoolExecutor(1)},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        timezone="UTC",
    )
    for name, (seconds, tick) in ticks.items():
        scheduler.add_job(tick, "interval", seconds=seconds, id=name)
    scheduler.start()
    return scheduler
