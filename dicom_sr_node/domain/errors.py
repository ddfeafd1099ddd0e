"""What can go wrong, and what becomes of it.

* NodeError
  + ConfigRefused        the configuration cannot be used; exit code 3
  + AlreadyRunning       another process holds this role on this data directory
  + Busy                 somebody else is at it: try again in a moment
  + NotFound             a job, a peer or a file that was named does not exist
  x Skipped              this image is not one to upscale; a state, not a failure
  x Unreadable           not DICOM, or damaged beyond reading
  x Undecodable          the pixel data cannot be decoded
  + DecoderDied          the process that decodes ended without an answer (retryable)
  + OurFault             this software failed while it read an image: says where (retryable)
  + Fenced               the work was taken over by somebody else; drop it
  + DeliveryError
    - PeerUnreachable    no connection, a rejected or broken association, a timeout (retryable)
      . NothingAccepted  the peer accepts none of the SOP classes and transfer syntaxes that were offered (retryable)
    - PeerBusy           the peer answered that it cannot take the object now (retryable)
      . PeerDoubts       the peer answered a failure that may pass, but not for ever (retryable, a few times)
    - PeerRefused        the peer will never take this object

The worker turns those marked x into the final state of a job. A job that fails otherwise is tried again if its error is
`retryable`, else it is dead.
"""

from __future__ import annotations

from collections.abc import Mapping

from dicom_sr_node.domain.records import SkipReason


class NodeError(Exception):
    """Something that the node expects can happen; the message says what, where and what to do."""

    retryable = False


class ConfigRefused(NodeError):
    """The configuration cannot be used."""


class AlreadyRunning(NodeError):
    """Another process holds this role on this data directory."""


class Busy(NodeError):
    """Somebody else is at it: try again in a moment."""


class NotFound(NodeError):
    """What was named does not exist."""


class Skipped(NodeError):
    """This image is not one to upscale, for one of the reasons of a closed list; `message` says it in numbers or names.

    quality: the numbers of the quality gate, if it got so far.
    """

    def __init__(self, reason: SkipReason, message: str, quality: Mapping[str, object] | None = None) -> None:
        super().__init__(reason, message, quality)
        self.reason, self.message, self.quality = reason, message, quality

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


class Unreadable(NodeError):
    """Not DICOM, or damaged beyond reading."""


class Undecodable(NodeError):
    """The pixel data cannot be decoded."""


class DecoderDied(NodeError):
    """The process that decodes ended without an answer, and not by any fault that the image is known to have."""

    retryable = True


class OurFault(NodeError):
    """This software failed, and not the image: its message says where in the code."""

    retryable = True


class Fenced(NodeError):
    """The work was taken over by somebody else."""


class DeliveryError(NodeError):
    """An object did not reach its destination. comment: the peer's own words, which may name a patient."""

    def __init__(self, message: str, comment: str = "") -> None:
        super().__init__(message, comment)
        self.message, self.comment = message, comment

    def __str__(self) -> str:
        return f"{self.message} ({self.comment})" if self.comment else self.message

    fate = "dead at once, with the peer's words"


class PeerUnreachable(DeliveryError):
    """No connection, a rejected or broken association, or a timeout."""

    retryable = True
    fate = "tried again, with growing pauses, for retention.undelivered_days; then dead"


class NothingAccepted(PeerUnreachable):
    """The peer accepts none of the SOP classes and transfer syntaxes that were offered."""


class PeerBusy(DeliveryError):
    """The peer cannot take the object now."""

    retryable = True
    fate = "tried again, with growing pauses, for retention.undelivered_days; then dead"


class PeerDoubts(PeerBusy):
    """The peer answered a failure that may pass, but not for ever."""

    fate = "tried three times, then dead"


class PeerRefused(DeliveryError):
    """The peer will never take this object."""
