"""The worker outlives what it cannot write down; what is under way is told apart from what waits."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.images import image
from support.node import Node, Outbox

from dicom_sr_node.dicom.header import identity_of
from dicom_sr_node.domain.messages import Rejected
from dicom_sr_node.domain.records import JobState, Origin
from dicom_sr_node.role import RoleContext
from dicom_sr_node.work.supervisor import Worker


def test_an_answer_that_cannot_be_written_down_is_a_failure_of_its_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox.of(Node.configure(tmp_path).settings)
    stored = outbox.spool.keep("in", [b"x"])
    origin = Origin(calling_ae="MOD")
    outbox.store.instances.receive(identity_of(image(32)), stored, transfer_syntax_uid="1", origin=origin)
    held = outbox.store.jobs.claim("w", 60)
    assert held is not None

    def refuse(*arguments: object, **more: object) -> None:
        raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")

    monkeypatch.setattr(outbox.store.jobs, "end", refuse)
    store = outbox.store
    worker = Worker(outbox.settings, RoleContext(store, outbox.spool, "w"))
    worker._write_down(held, Rejected(JobState.SKIPPED, "no rule"), 0.1)
    job = store.jobs.get(held.id)
    assert (job.state, job.failures) == (JobState.READY, 1)
    assert "UnicodeEncodeError" in job.reason
    outbox.close()


def test_a_delivery_that_is_being_tried_is_neither_waiting_nor_delivered(tmp_path: Path) -> None:
    outbox = Outbox.of(Node.configure(tmp_path).settings)
    outbox.put(1, "ARCHIVE")
    ways = outbox.store.deliveries
    assert ways.states_of_job(1) == {JobState.READY}
    held = ways.claim("d", 60, "ARCHIVE")
    assert held is not None
    assert ways.states_of_job(1) == {JobState.RUNNING}
    assert ways.retry(1) == 0
    ways.done(held, "")
    assert ways.states_of_job(1) == {JobState.DONE}
    outbox.close()
