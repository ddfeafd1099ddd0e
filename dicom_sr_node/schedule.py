"""In-process timers.

Each tick looks at what is there and does what is due, so a missed or doubled tick does no harm.
"""

from __future__ import annotations

import time

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from dicom_sr_node import log
from dicom_sr_node.spool import Spool
from dicom_sr_node.store.outputs import Outputs
from dicom_sr_node.store.slots import BEAT_S, Slots

_log = log.get("schedule")

SWEEP_EVERY_S = 600
ORPHAN_AGE_S = 3600  # a worker commits within seconds of the rename; what has no row after so long never will


def heartbeat(slots: Slots, slot: str) -> BackgroundScheduler:
    """A running scheduler that tells the database every few seconds that this process is there."""
    scheduler = _scheduler()
    scheduler.add_job(slots.beat, "interval", args=(slot,), seconds=BEAT_S, id="beat")
    scheduler.start()
    return scheduler


def maintenance(spool: Spool, outputs: Outputs) -> BackgroundScheduler:
    """A running scheduler that keeps the spool clean."""
    scheduler = _scheduler()
    scheduler.add_job(sweep_outbox, "interval", args=(spool, outputs), seconds=SWEEP_EVERY_S, id="sweep")
    scheduler.start()
    return scheduler


def sweep_outbox(spool: Spool, outputs: Outputs, age_s: float = ORPHAN_AGE_S) -> int:
    """Remove derived files that were kept but never committed; their job runs again and makes them anew."""
    removed = 0
    for name in spool.names("outbox") - outputs.files():
        path = spool.path("outbox", name)
        if path.exists() and time.time() - path.stat().st_mtime > age_s:
            spool.discard("outbox", name)
            removed += 1
    if removed:
        _log.warning("orphans removed from the outbox", extra={"files": removed})
    return removed


def _scheduler() -> BackgroundScheduler:
    """Memory job store only: the queue is our own table."""
    return BackgroundScheduler(
        executors={"default": ThreadPoolExecutor(1)},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        timezone="UTC",
    )
