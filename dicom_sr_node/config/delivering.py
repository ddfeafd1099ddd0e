"""How results leave."""

from __future__ import annotations

from dicom_sr_node.config.types import Seconds, Section
from dicom_sr_node.runtime.backoff import RetryPolicy


class DeliverySettings(Section):
    """How results are sent, and sent again."""

    retry_first_s: Seconds = 30
    """The pause after a failed try; it doubles each time ..."""
    retry_max_s: Seconds = 900
    """... up to this, until retention.undelivered_days are over."""
    connect_timeout_s: Seconds = 10
    """For the TCP connection."""
    response_timeout_s: Seconds = 120
    """For each answer of the peer."""
    move_timeout_s: Seconds = 600
    """For each answer of an archive that sends us its images (`srnode pull`)."""
    commitment_wait_s: Seconds = 3600
    """For a report of storage commitment; then it is asked for again."""
    poll_s: Seconds = 0.5
    """How often an idle sender looks for work."""

    @property
    def exchange_s(self) -> float:
        """After so long an exchange with a peer has failed, or whoever made it is dead."""
        return 2 * (self.connect_timeout_s + self.response_timeout_s)

    @property
    def retry(self) -> RetryPolicy:
        """The pauses after failed tries."""
        return RetryPolicy(self.retry_first_s, self.retry_max_s)
