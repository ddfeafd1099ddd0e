"""Images that come again: the sender was told that they are safe, so what the rules say to them now is done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.node import store_of

from dicom_sr_node.config.node import DatabaseSettings, NodeSettings
from dicom_sr_node.config.settings import Settings
from dicom_sr_node.domain.records import (
    Identity,
    Job,
    JobResult,
    JobState,
    Origin,
    OutputKind,
    Route,
    SkipReason,
    Stored,
    StoredOutput,
)
from dicom_sr_node.store import engine as database
from dicom_sr_node.store.database import Store
from dicom_sr_node.store.invariants import Invariants

NOBODY, ROOM1, ROOM2 = Origin(), Origin(calling_ae="ROOM1", called_ae="SR"), Origin(calling_ae="ROOM2", called_ae="SR")
RULES = {"ROOM1": ("PACS",), "ROOM2": ("PACS", "RESEARCH")}


@pytest.fixture
def store(tmp_path: Path, database_url: str) -> Iterator[Store]:
    opened = store_of(Settings(node=NodeSettings(data_dir=tmp_path), database=DatabaseSettings(url=database_url)))
    database.upgrade(opened.engine)
    yield opened
    assert Invariants(opened.engine).broken() == []
    opened.engine.dispose()


def receive(
    store: Store,
    origin: Origin,
    rules: dict[str, tuple[str, ...]] = RULES,
    *,
    file: str = "f1",
    sha: str = "a",
    patient_id: str = "P",
) -> int | None:
    uids = {"sop_class_uid": "1.2", "sop_instance_uid": "1.3", "study_uid": "1.4", "series_uid": "1.5"}
    who = Identity(**uids, modality="DX", patient_id=patient_id)

    def route(caller: Origin) -> Route:
        return Route(destinations=rules.get(caller.calling_ae, ()))

    stored = Stored(name=file, sha256=sha, bytes=10)
    return store.instances.receive(who, stored, transfer_syntax_uid="1.2", origin=origin, route=route)


def claimed(store: Store) -> Job:
    job = store.jobs.claim("w", 60)
    assert job is not None
    return job


def finish(store: Store, *destinations: str, uid: str = "2.25.1", file: str = "o1", whose: str = "w") -> list[Stored]:
    """Work on what waits; returns the files that were not needed."""
    columns: dict[str, Any] = {"kind": OutputKind.IMAGE, "sop_class_uid": "1.2", "sop_instance_uid": uid}
    columns |= {"series_uid": "2.25.2", "model": "m", "scale": 4, "source_pixels": "p", "whose": whose}
    kept = StoredOutput(columns, Stored(name=file, sha256="s", bytes=1), destinations)
    return store.jobs.done(claimed(store), JobResult((kept,), {}))


def skip(store: Store, reason: SkipReason = SkipReason.NO_RULE) -> None:
    store.jobs.end(claimed(store), JobState.SKIPPED, reason, skipped=reason)


def state(store: Store) -> JobState:
    return store.jobs.get(1).state


def sent_to(store: Store, output_id: int = 1) -> list[str]:
    return [way.destination for way in store.deliveries.of_output(output_id)]


def what(store: Store) -> list[str]:
    return [event["what"] for event in store.instances.events(1)]


def test_what_was_adopted_from_nobody_learns_who_sent_it(store: Store) -> None:
    receive(store, NOBODY)
    assert receive(store, ROOM1, file="f2") is None
    assert store.instances.get(1).origin == ROOM1
    assert state(store) == JobState.READY
    finish(store, "PACS")
    assert state(store) == JobState.DONE


def test_what_was_adopted_from_nobody_and_is_worked_on_is_judged_anew_after_that(store: Store) -> None:
    receive(store, NOBODY)
    job = claimed(store)
    receive(store, ROOM1, file="f2")
    store.jobs.end(job, JobState.SKIPPED, "no rule", skipped=SkipReason.NO_RULE)
    assert (state(store), store.instances.get(1).origin) == (JobState.READY, ROOM1)


def test_an_image_that_no_rule_took_is_judged_anew(store: Store) -> None:
    receive(store, ROOM1, {})
    skip(store)
    assert receive(store, ROOM1, file="f2") is None
    assert state(store) == JobState.READY
    assert claimed(store).skipped == ""
    assert what(store)[-2:] == ["received again", "judged anew"]


def test_a_caller_whom_no_rule_takes_does_not_take_an_image_from_the_one_before(store: Store) -> None:
    receive(store, ROOM1, {})
    skip(store)
    receive(store, NOBODY, file="f2")
    assert store.instances.get(1).origin == ROOM1


def test_what_a_person_cancelled_stays_cancelled(store: Store) -> None:
    receive(store, ROOM1)
    store.jobs.cancel(1)
    receive(store, ROOM1, file="f2")
    assert state(store) == JobState.SKIPPED


def test_a_dead_image_that_is_sent_again_is_tried_again(store: Store) -> None:
    receive(store, ROOM1)
    store.jobs.end(claimed(store), JobState.DEAD, "cannot be decoded")
    receive(store, ROOM1, file="f2")
    assert (state(store), store.jobs.get(1).reason) == (JobState.READY, "")


def test_an_image_that_was_delivered_comes_again_and_nothing_happens(store: Store) -> None:
    receive(store, ROOM1)
    finish(store, "PACS")
    assert receive(store, ROOM1, file="f2") is None
    assert state(store) == JobState.DONE


def test_a_new_destination_gets_the_result_that_is_there(store: Store) -> None:
    receive(store, ROOM1)
    finish(store, "PACS")
    receive(store, ROOM2, file="f2")
    assert state(store) == JobState.READY
    assert [spare.name for spare in finish(store, "PACS", "RESEARCH", file="o2")] == ["o2"]
    assert sent_to(store) == ["PACS", "RESEARCH"]
    receive(store, ROOM2, file="f3")
    assert state(store) == JobState.DONE


def test_a_destination_that_has_a_result_gets_no_second_one_of_newer_weights(store: Store) -> None:
    receive(store, ROOM1)
    finish(store, "PACS")
    receive(store, ROOM2, file="f2")
    assert finish(store, "PACS", "RESEARCH", uid="2.25.9", file="o2") == []
    assert (sent_to(store, 1), sent_to(store, 2)) == (["PACS"], ["RESEARCH"])


def test_a_second_caller_while_it_is_worked_on_is_served_after_that(store: Store) -> None:
    receive(store, ROOM1)
    job = claimed(store)
    receive(store, ROOM2, file="f2")
    receive(store, ROOM1, file="f3")  # nothing new
    store.jobs.put_back(job)
    finish(store, "PACS")
    assert (state(store), store.instances.get(1).origin) == (JobState.READY, ROOM2)
    finish(store, "PACS", "RESEARCH", file="o2")
    assert (state(store), sent_to(store)) == (JobState.DONE, ["PACS", "RESEARCH"])


def test_what_is_judged_anew_and_not_taken_keeps_the_result_that_it_has(store: Store) -> None:
    receive(store, ROOM1)
    finish(store, "PACS")
    receive(store, ROOM2, file="f2")
    skip(store, SkipReason.TOO_LARGE)
    assert state(store) == JobState.DONE
    receive(store, ROOM2, file="f3")
    store.jobs.cancel(1)
    assert (state(store), sent_to(store)) == (JobState.DONE, ["PACS"])


def test_one_image_in_two_transfer_syntaxes_is_not_made_anew_each_time(store: Store) -> None:
    receive(store, ROOM1)
    finish(store, "PACS")
    receive(store, ROOM1, sha="b", file="f2")
    finish(store, "PACS", file="o2")
    receive(store, ROOM1, sha="b", file="f3")
    assert store.jobs.get(2).state == JobState.DONE
    receive(store, ROOM2, sha="b", file="f4")
    finish(store, "PACS", "RESEARCH", file="o3")
    assert sent_to(store) == ["PACS", "RESEARCH"]


def test_a_result_that_was_purged_is_made_again_for_a_new_destination_only(store: Store) -> None:
    receive(store, ROOM1)
    finish(store, "PACS")
    way = store.deliveries.claim("d", 60, "PACS")
    assert way is not None
    store.deliveries.done(way, "")
    assert store.instances.purge(done_s=-1, skipped_s=-1) == [("f1", ["o1"])]
    assert store.outputs.files() == set()
    assert receive(store, ROOM1, file="f2") == 1
    assert (state(store), store.outputs.files()) == (JobState.DONE, set())
    assert store.deliveries.repeat(1) == 0  # its file is gone
    assert receive(store, ROOM2, file="f3") is None
    assert finish(store, "PACS", "RESEARCH", file="o2") == []
    assert store.outputs.files() == {"o2"}
    assert [way.state for way in store.deliveries.of_output(1)] == [JobState.DONE, JobState.READY]


@pytest.mark.parametrize("known", ["w", ""])  # "": a result of an earlier version
def test_the_result_of_another_patient_is_superseded_and_what_waits_of_it_is_not_sent(store: Store, known: str) -> None:
    receive(store, ROOM2)
    finish(store, "PACS", "RESEARCH", whose=known)
    way = store.deliveries.claim("d", 60, "PACS")
    assert way is not None
    store.deliveries.done(way, "")
    assert store.outputs.superseded() == []
    receive(store, ROOM2, sha="b", file="f2", patient_id="OTHER")
    finish(store, "PACS", "RESEARCH", uid="2.25.2", file="o2", whose="other")
    assert [(row.job_id, row.newer_id) for row in store.outputs.superseded()] == [(1, 2)]
    assert [way.state for way in store.deliveries.of_output(1)] == [JobState.DONE, JobState.DEAD]
    assert [way.state for way in store.deliveries.of_output(2)] == [JobState.READY, JobState.READY]
    store.outputs.dismiss(1, "by hand")
    assert store.outputs.superseded() == []


def test_other_weights_supersede_nothing(store: Store) -> None:
    receive(store, ROOM1)
    finish(store, "PACS")
    receive(store, ROOM1, sha="b", file="f2")
    finish(store, "PACS", uid="2.25.2", file="o2")
    assert {store.outputs.get(number).superseded_by for number in (1, 2)} == {0}
