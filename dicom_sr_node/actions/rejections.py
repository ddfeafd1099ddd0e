"""Results that an archive should not show any more: a rejection note to everybody who has them, on request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from dicom_sr_node.derive import encoding
from dicom_sr_node.derive.rejection import RejectionReason, rejection
from dicom_sr_node.dicom import header
from dicom_sr_node.domain.errors import NotFound
from dicom_sr_node.domain.records import RESULTS, JobState, Output, OutputKind, StoredOutput
from dicom_sr_node.spool import Spool
from dicom_sr_node.store.database import Store


@dataclass(frozen=True)
class Rejections:
    """Notes on the results of jobs."""

    store: Store
    spool: Spool
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def send(self, job_id: int, reason: RejectionReason, who: str) -> int:
        """To how many destinations the note goes; 0 where nothing was delivered. Raises NotFound: files are gone."""
        delivered = [(output, self._holders(output)) for output in self.store.outputs.of_job(job_id)]
        delivered = [(output, holders) for output, holders in delivered if output.kind in RESULTS and holders]
        destinations = tuple(sorted({name for _, holders in delivered for name in holders}))
        if not delivered:
            return 0
        try:
            results = [header.read(self.spool.path("outbox", output.file), pixels=False) for output, _ in delivered]
        except FileNotFoundError:
            raise NotFound(f"the results of job {job_id} were purged: reject them in the archive itself") from None
        note = rejection(results, reason, self.now())
        columns = {
            "kind": OutputKind.REJECTION,
            "sop_class_uid": str(note.SOPClassUID),
            "sop_instance_uid": str(note.SOPInstanceUID),
            "series_uid": str(note.SeriesInstanceUID),
            "model": delivered[0][0].model,
            "scale": delivered[0][0].scale,
        }
        kept = StoredOutput(columns, self.spool.keep("outbox", [encoding.plain(note)]), destinations)
        self.store.outputs.reject(job_id, kept, f"{who}: {reason}")
        return len(destinations)

    def _holders(self, output: Output) -> set[str]:
        ways = self.store.deliveries.of_output(output.id)
        return {way.destination for way in ways if way.state in (JobState.DONE, JobState.SENT)}
