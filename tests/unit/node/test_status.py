"""One state of an image, and one answer to what is done to it, on every surface."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command import srnode
from support.node import Node, Outbox

from dicom_sr_node.actions.actor import Actor
from dicom_sr_node.actions.images import ActionOutcome, ImageAction, ImageActions, Outcome
from dicom_sr_node.audit.messages import AuditMessages
from dicom_sr_node.commands import jobs
from dicom_sr_node.domain.errors import NotFound
from dicom_sr_node.domain.image_status import ImageStatus, image_status
from dicom_sr_node.domain.records import JobState
from dicom_sr_node.store.search import ImageQuery
from dicom_sr_node.web.base import wording

WHO = Actor("somebody")


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox.of(Node.configure(tmp_path).settings)
    yield outbox
    outbox.close()


def actions(outbox: Outbox) -> ImageActions:
    return ImageActions(outbox.store, AuditMessages("SRNODE", enabled=True), outbox.spool)


@pytest.mark.parametrize("status", ImageStatus)
def test_every_status_has_a_sentence(status: ImageStatus) -> None:
    assert status.sentence.endswith(".")


def test_a_dead_delivery_is_a_dead_image_everywhere(outbox: Outbox, tmp_path: Path) -> None:
    outbox.put(1, "A")
    outbox.put(2, "A")
    claim = outbox.store.deliveries.claim("d", 60, "A")
    assert claim is not None
    outbox.store.deliveries.dead(claim, "no")
    config = tmp_path / "node.toml"
    assert outbox.store.search.counts()[ImageStatus.DEAD] == 1
    (found,) = outbox.store.search.images(ImageQuery(status=ImageStatus.DEAD))
    assert found["status"] is ImageStatus.DEAD
    report = json.loads(srnode("status", "--json", "-c", config).stdout)
    assert report["images"]["dead"] == 1
    assert "1 image is dead" in [problem["text"] for problem in report["condition"]]
    (row,) = json.loads(srnode("jobs", "ls", "--state", "dead", "--json", "-c", config).stdout)
    assert (row["id"], row["state"], row["status"]) == (1, "done", "dead")
    others = json.loads(srnode("jobs", "ls", "--state", "done", "--json", "-c", config).stdout)
    assert [other["id"] for other in others] == [2]


@pytest.mark.parametrize(
    ("job", "dead", "open_", "status"),
    [
        (JobState.READY, False, False, ImageStatus.WAITING),
        (JobState.RUNNING, False, False, ImageStatus.WORKING),
        (JobState.DONE, False, True, ImageStatus.ON_ITS_WAY),
        (JobState.DONE, False, False, ImageStatus.DELIVERED),
        (JobState.DONE, True, True, ImageStatus.DEAD),
        (JobState.SKIPPED, False, False, ImageStatus.SKIPPED),
        (JobState.DEAD, False, False, ImageStatus.DEAD),
    ],
)
def test_the_status_follows_from_job_and_deliveries(
    job: JobState, dead: bool, open_: bool, status: ImageStatus
) -> None:
    assert image_status(job, dead_deliveries=dead, open_deliveries=open_) is status


def test_each_state_of_a_delivery_has_its_outcome(outbox: Outbox) -> None:
    outbox.put(1, "A")
    act, deliveries = actions(outbox), outbox.store.deliveries
    assert act.act(ImageAction.SEND_AGAIN, 1, WHO) == ActionOutcome(Outcome.NOTHING_DELIVERED)
    assert act.act(ImageAction.RETRY, 1, WHO) == ActionOutcome(Outcome.SENDING, 1)
    claim = deliveries.claim("d", 60, "A")
    assert claim is not None
    for action in (ImageAction.RETRY, ImageAction.SEND_AGAIN):
        assert act.act(action, 1, WHO) == ActionOutcome(Outcome.BEING_SENT)
    deliveries.sent(claim, "")
    for action in (ImageAction.RETRY, ImageAction.SEND_AGAIN):
        assert act.act(action, 1, WHO) == ActionOutcome(Outcome.AWAITING_COMMITMENT)
    outbox.store.commitments.begin("A", "1.2.3", wait_s=1, required=False, patience_s=1)
    outbox.store.commitments.give_up("1.2.3", "enough")
    assert act.act(ImageAction.RETRY, 1, WHO) == ActionOutcome(Outcome.ALL_DELIVERED)
    assert act.act(ImageAction.SEND_AGAIN, 1, WHO) == ActionOutcome(Outcome.SENDING_AGAIN, 1)


def test_what_is_refused_is_not_audited_and_what_is_done_is(outbox: Outbox) -> None:
    outbox.put(1, "A")
    actions(outbox).act(ImageAction.SEND_AGAIN, 1, WHO)
    assert outbox.store.audit.claim("d", 60) is None
    actions(outbox).act(ImageAction.HOLD, 1, WHO)
    message = outbox.store.audit.claim("d", 60)
    assert message is not None
    assert "hold image 1" in message.message


@pytest.mark.parametrize("outcome", Outcome)
def test_command_line_and_dashboard_word_every_outcome_alike(outcome: Outcome) -> None:
    """Both say it was done, or both refuse."""
    sending = outcome in (Outcome.SENDING, Outcome.SENDING_AGAIN)
    answer = ActionOutcome(outcome, 2 if sending else 0)
    for words in (jobs.words, wording.sentence):
        if answer.is_refused:
            with pytest.raises(NotFound):
                words(answer)
        else:
            assert words(answer)
