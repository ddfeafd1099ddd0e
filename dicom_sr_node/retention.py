"""What is removed, and when: leftovers of processes that died, and what is past its retention."""

from __future__ import annotations

import time

from dicom_sr_node.config.node import RetentionSettings
from dicom_sr_node.domain.errors import AlreadyRunning
from dicom_sr_node.runtime import failpoints, locks, log
from dicom_sr_node.spool import Spool
from dicom_sr_node.store.instances import Instances
from dicom_sr_node.store.outputs import Outputs

_log = log.get("schedule")

SWEEP_EVERY_S = 600
ORPHAN_AGE_S = 3600  # a worker commits within seconds of the rename; what has no row after so long never will
PURGE_LOCK = "purge"  # also taken by `backup` and `fsck`
PURGE_PATIENCE_S = 600.0  # how long these wait for it


def sweep_outbox(spool: Spool, outputs: Outputs, age_s: float = ORPHAN_AGE_S) -> int:
    """Remove drafts that nobody finishes, and derived files that no row refers to: never committed, or purged."""
    removed = spool.sweep_forsaken(age_s)
    for name in spool.names("outbox") - outputs.files():
        path = spool.path("outbox", name)
        if path.exists() and time.time() - path.stat().st_mtime > age_s:
            spool.discard("outbox", name)
            removed += 1
    if removed:
        _log.warning("orphans removed", extra={"files": removed})
    return removed


def purge(spool: Spool, instances: Instances, retention: RetentionSettings) -> int:
    """Remove the files of what is delivered, committed to where that is awaited, and past its retention.

    Nothing is removed while a backup runs.
    """
    try:
        lock = locks.take(spool.root, PURGE_LOCK)
    except AlreadyRunning:
        return 0
    try:
        return _purge(spool, instances, retention)
    finally:
        lock.free()


def _purge(spool: Spool, instances: Instances, retention: RetentionSettings) -> int:
    count = 0
    while gone := instances.purge(done_s=retention.delivered_s, skipped_s=retention.skipped_s):
        failpoints.hit("purge.marked")
        for source, results in gone:
            spool.discard("in", source)
            for name in results:
                spool.discard("outbox", name)
        count += len(gone)
    if count:
        _log.info("purged", extra={"images": count})
    return count
