"""Where an image is, in one word and in one sentence: the same for store, command line, REST and dashboard."""

from __future__ import annotations

from enum import StrEnum

from dicom_sr_node.domain.records import JobState


class ImageStatus(StrEnum):
    """Of an image with all its deliveries."""

    WAITING = "waiting"
    WORKING = "working"
    ON_ITS_WAY = "on its way"
    DELIVERED = "delivered"
    SKIPPED = "skipped"
    DEAD = "dead"

    @property
    def sentence(self) -> str:
        """For people."""
        return _SENTENCES[self]


_SENTENCES = {
    ImageStatus.WAITING: "It waits for a worker.",
    ImageStatus.WORKING: "A worker is upscaling it.",
    ImageStatus.ON_ITS_WAY: "It is upscaled; not every destination has its results yet.",
    ImageStatus.DELIVERED: "It is upscaled, and every destination has its results.",
    ImageStatus.SKIPPED: "It is stored and was not upscaled.",
    ImageStatus.DEAD: "It, or one of its deliveries, failed for good and needs attention.",
}
_OF_JOBS = {
    JobState.READY: ImageStatus.WAITING,
    JobState.RUNNING: ImageStatus.WORKING,
    JobState.SKIPPED: ImageStatus.SKIPPED,
}


def image_status(job: JobState, *, dead_deliveries: bool, open_deliveries: bool) -> ImageStatus:
    """One dead delivery makes a dead image, whatever became of the others."""
    if job is not JobState.DONE:
        return _OF_JOBS.get(job, ImageStatus.DEAD)
    if dead_deliveries:
        return ImageStatus.DEAD
    return ImageStatus.ON_ITS_WAY if open_deliveries else ImageStatus.DELIVERED
