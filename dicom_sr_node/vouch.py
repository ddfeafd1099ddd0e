"""What the node commits to when a peer asks: only images that it has durably, or has durably passed on."""

from __future__ import annotations

from dicom_sr_node.network.commitment import CLASS_CONFLICT, NO_SUCH_INSTANCE, Report
from dicom_sr_node.records import Asked, Instance, Reference
from dicom_sr_node.spool import Spool
from dicom_sr_node.store.instances import Instances


def report(asked: Asked, instances: Instances, spool: Spool) -> Report:
    """The answer to a request, as things are now."""
    committed: list[Reference] = []
    failed: dict[Reference, int] = {}
    for reference in asked.references:
        known = [found for found in instances.of_uid(reference.sop_instance_uid) if _is_safe(found, spool)]
        if any(found.sop_class_uid == reference.sop_class_uid for found in known):
            committed.append(reference)
        else:
            failed[reference] = CLASS_CONFLICT if known else NO_SUCH_INSTANCE
    return Report(asked.transaction_uid, committed, failed)


def _is_safe(found: Instance, spool: Spool) -> bool:
    """Its file is here in full length, or it was purged, which happens only to what was delivered and committed to."""
    if found.purged_at:
        return True
    path = spool.path("in", found.file)
    return path.is_file() and path.stat().st_size == found.bytes
