"""What can be done to one image and its deliveries."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dicom_sr_node.actions.actor import Actor
from dicom_sr_node.actions.rejections import Rejections
from dicom_sr_node.audit.messages import AuditMessages
from dicom_sr_node.derive.rejection import RejectionReason
from dicom_sr_node.domain.records import Delivery, JobState
from dicom_sr_node.spool import Spool
from dicom_sr_node.store.database import Store


class ImageAction(StrEnum):
    """On one image."""

    RETRY = "retry"
    CANCEL = "cancel"
    SEND_AGAIN = "send-again"
    URGENT = "urgent"
    HOLD = "hold"
    RELEASE = "release"
    REJECT = "reject"


class Outcome(StrEnum):
    """What an action came to."""

    QUEUED = "queued"  # it waits for a worker again
    CANCELLED = "cancelled"
    FIRST = "first"  # it is next
    HELD = "held"
    RELEASED = "released"
    SENDING = "sending"  # so many deliveries are tried at once
    SENDING_AGAIN = "sending again"  # so many, also what was delivered: the same bytes
    BEING_SENT = "being sent"  # a try is under way just now
    ALL_DELIVERED = "all delivered"  # nothing is left to send
    NOTHING_DELIVERED = "nothing delivered"  # nothing can be sent again yet
    REJECTING = "rejecting"  # a rejection note goes to so many destinations
    AWAITING_COMMITMENT = "awaiting commitment"  # it was sent, and the peer has not committed to it yet


_REFUSALS = (Outcome.ALL_DELIVERED, Outcome.NOTHING_DELIVERED, Outcome.AWAITING_COMMITMENT)


@dataclass(frozen=True)
class ActionOutcome:
    """deliveries: how many are tried, where it is SENDING or SENDING_AGAIN."""

    outcome: Outcome
    deliveries: int = 0

    @property
    def is_refused(self) -> bool:
        """Whether the state of the image did not allow it: nothing was changed."""
        return self.outcome in _REFUSALS


class ImageActions:
    """Acts on images, under the name of whoever does it."""

    def __init__(self, store: Store, audit: AuditMessages, spool: Spool) -> None:
        self._store, self._audit, self._rejections = store, audit, Rejections(store, spool)

    def act(self, action: ImageAction, job_id: int, actor: Actor) -> ActionOutcome:
        """Raises NotFound where there is no such job, or its state does not allow this."""
        if action is ImageAction.REJECT:
            return self.reject(job_id, RejectionReason.WORKLIST, actor)
        image_id = self._store.jobs.get(job_id).instance_id
        outcome = _ACTIONS[action](self._store, job_id, f"by {actor.name}")
        if not outcome.is_refused:
            self._store.audit.add(self._audit.acted(actor.name, actor.address, f"{action} image {image_id}"))
        return outcome

    def reject(self, job_id: int, reason: RejectionReason, actor: Actor) -> ActionOutcome:
        """Ask everybody who has its results to hide them. Raises NotFound where there is no such job or no file."""
        image_id = self._store.jobs.get(job_id).instance_id
        count = self._rejections.send(job_id, reason, f"by {actor.name}")
        if not count:
            return ActionOutcome(Outcome.NOTHING_DELIVERED)
        self._store.audit.add(self._audit.acted(actor.name, actor.address, f"reject image {image_id}"))
        return ActionOutcome(Outcome.REJECTING, count)

    def dismiss(self, job_id: int, actor: Actor) -> None:
        """Its results may stay where they are. Raises NotFound."""
        image_id = self._store.jobs.get(job_id).instance_id
        self._store.outputs.dismiss(job_id, f"by {actor.name}")
        self._store.audit.add(self._audit.acted(actor.name, actor.address, f"dismiss image {image_id}"))


def possible(
    image: Mapping[str, Any], deliveries: Collection[Delivery], *, superseded: bool = False
) -> list[ImageAction]:
    """What an image's state allows now. image: a row of `Search`; superseded: its result names somebody else."""
    state, states = image["state"], {delivery.state for delivery in deliveries}
    actions = []
    if state in (JobState.DEAD, JobState.SKIPPED) or states & {JobState.DEAD, JobState.READY}:
        actions.append(ImageAction.RETRY)
    if state in (JobState.READY, JobState.RUNNING):
        actions.append(ImageAction.CANCEL)
    if state == JobState.READY:
        actions.append(ImageAction.URGENT)
    if JobState.DONE in states and not image["purged_at"]:
        actions.append(ImageAction.SEND_AGAIN)
    if superseded:
        actions.append(ImageAction.REJECT)
    return [*actions, ImageAction.RELEASE if image["held"] else ImageAction.HOLD]


def _retry(store: Store, job_id: int, who: str) -> ActionOutcome:
    if store.jobs.get(job_id).state == JobState.DONE:
        return _sent(store, job_id, Outcome.SENDING, store.deliveries.retry(job_id, who))
    store.jobs.retry(job_id, who)
    return ActionOutcome(Outcome.QUEUED)


def _send_again(store: Store, job_id: int, who: str) -> ActionOutcome:
    return _sent(store, job_id, Outcome.SENDING_AGAIN, store.deliveries.repeat(job_id, who))


def _sent(store: Store, job_id: int, outcome: Outcome, count: int) -> ActionOutcome:
    """How many deliveries are tried; why none, where there is none."""
    if count:
        return ActionOutcome(outcome, count)
    states = store.deliveries.states_of_job(job_id)
    if JobState.RUNNING in states:
        return ActionOutcome(Outcome.BEING_SENT)
    if JobState.SENT in states:
        return ActionOutcome(Outcome.AWAITING_COMMITMENT)
    return ActionOutcome(Outcome.ALL_DELIVERED if states == {JobState.DONE} else Outcome.NOTHING_DELIVERED)


def _cancel(store: Store, job_id: int, who: str) -> ActionOutcome:
    store.jobs.cancel(job_id, who)
    return ActionOutcome(Outcome.CANCELLED)


def _urgent(store: Store, job_id: int, who: str) -> ActionOutcome:
    store.jobs.hurry(job_id, who)
    return ActionOutcome(Outcome.FIRST)


def _hold(store: Store, job_id: int, who: str) -> ActionOutcome:
    store.instances.hold(store.jobs.get(job_id).instance_id, True, who)
    return ActionOutcome(Outcome.HELD)


def _release(store: Store, job_id: int, who: str) -> ActionOutcome:
    store.instances.hold(store.jobs.get(job_id).instance_id, False, who)
    return ActionOutcome(Outcome.RELEASED)


_ACTIONS: dict[ImageAction, Callable[[Store, int, str], ActionOutcome]] = {
    ImageAction.RETRY: _retry,
    ImageAction.CANCEL: _cancel,
    ImageAction.SEND_AGAIN: _send_again,
    ImageAction.URGENT: _urgent,
    ImageAction.HOLD: _hold,
    ImageAction.RELEASE: _release,
}
