"""What the node commits to when a peer asks (PS3.4 J): only images that it has durably, or has durably passed on."""

from __future__ import annotations

from dataclasses import dataclass

from dicom_sr_node.commitment.wire import CLASS_CONFLICT, NO_SUCH_INSTANCE, CommitmentReport
from dicom_sr_node.domain.records import CommitmentRequest, Instance, Reference
from dicom_sr_node.spool import Spool
from dicom_sr_node.store.commitments import InboundRequests
from dicom_sr_node.store.instances import Instances


@dataclass(frozen=True)
class CommitmentPolicy:
    """The requests of peers, and what they are answered from."""

    requests: InboundRequests
    instances: Instances
    spool: Spool

    def report(self, request: CommitmentRequest) -> CommitmentReport:
        """The answer to a request, as things are now."""
        committed: list[Reference] = []
        failed: dict[Reference, int] = {}
        for reference in request.references:
            safe = [image for image in self.instances.of_uid(reference.sop_instance_uid) if self._is_safe(image)]
            if any(image.sop_class_uid == reference.sop_class_uid for image in safe):
                committed.append(reference)
            else:
                failed[reference] = CLASS_CONFLICT if safe else NO_SUCH_INSTANCE
        return CommitmentReport(request.transaction_uid, committed, failed)

    def _is_safe(self, image: Instance) -> bool:
        """Its file is here in full length, or it was purged: only what was delivered and committed to is."""
        if image.purged_at:
            return True
        path = self.spool.path("in", image.file)
        return path.is_file() and path.stat().st_size == image.bytes
