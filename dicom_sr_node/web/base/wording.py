"""What an action came to, as the dashboard and the REST interface say it."""

from __future__ import annotations

from dicom_sr_node.actions.images import ActionOutcome, Outcome
from dicom_sr_node.domain.errors import NotFound

_SENTENCES = {
    Outcome.QUEUED: "It waits for a worker again.",
    Outcome.CANCELLED: "It will not be upscaled. The image stays.",
    Outcome.FIRST: "It is next.",
    Outcome.HELD: "It is kept: retention does not remove it.",
    Outcome.RELEASED: "Retention may remove it again.",
    Outcome.BEING_SENT: "It is being sent just now.",
    Outcome.ALL_DELIVERED: "Everything of it is delivered.",
    Outcome.NOTHING_DELIVERED: "Nothing of it was delivered yet.",
    Outcome.AWAITING_COMMITMENT: "It was sent; the peer has not committed to it yet.",
}


def sentence(outcome: ActionOutcome) -> str:
    """Raises NotFound, with the sentence, where the image's state did not allow it."""
    if outcome.outcome is Outcome.REJECTING:
        return f"A rejection note goes to {outcome.deliveries} of those who have its results."
    if outcome.deliveries:
        how = "again, the same bytes" if outcome.outcome is Outcome.SENDING_AGAIN else "at once"
        count = outcome.deliveries
        return f"1 delivery is tried {how}." if count == 1 else f"{count} deliveries are tried {how}."
    if outcome.is_refused:
        raise NotFound(_SENTENCES[outcome.outcome])
    return _SENTENCES[outcome.outcome]
