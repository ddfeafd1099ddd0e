"""The disk fills, turns read-only, and is made room on: nothing acknowledged is lost (T20, T22, T62)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import pytest
from sqlalchemy import update
from support.command import srnode
from support.images import image, save
from support.node import Node, Outbox
from support.tools import run

from dicom_sr_node import retention
from dicom_sr_node.config.node import RetentionSettings
from dicom_sr_node.domain.errors import NotFound
from dicom_sr_node.domain.records import Identity, JobState, Origin, Stored
from dicom_sr_node.runtime import failpoints
from dicom_sr_node.runtime.locks import take
from dicom_sr_node.store import tables
from dicom_sr_node.store.invariants import Invariants
from dicom_sr_node.tools import fsck

DAY = 86_400.0


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    done = run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder, check=False)
    if done.returncode:
        pytest.skip("cannot mount a small file system: run as root")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=False)


def status_of(node: Node, path: Path) -> str:
    done = node.storescu(path, options=("-R", "-d"), check=False)
    told = (done.stdout + done.stderr).lower()
    return "a700" if "0xa700" in told else "0000" if done.returncode == 0 else told[-500:]


def test_below_the_reserve_nothing_is_taken_and_above_it_again(tmp_path: Path) -> None:
    node = Node.configure(tmp_path)
    paths = [save(image(32, number=number), tmp_path / f"{number}.dcm") for number in range(3)]
    with small_disk(node.settings.node.data_dir, "20m"):
        node.start("receive")
        try:
            assert status_of(node, paths[0]) == "0000"
            filler = node.settings.node.data_dir / "filler"
            filler.write_bytes(bytes(19_500_000))  # more than 90 % of it
            assert status_of(node, paths[1]) == "a700"
            run("echoscu", "-aec", "SRNODE", "127.0.0.1", str(node.settings.scp.port))
            assert "nothing more is taken until there is room" in srnode("status", "-c", node.config).stdout
            filler.unlink()
            assert status_of(node, paths[2]) == "0000"
            assert len(node.store.jobs.ls((), 10)) == 2
            node.fsck()
        finally:
            node.stop()


def test_a_disk_that_turns_read_only_is_out_of_resources_and_the_node_goes_on(tmp_path: Path) -> None:
    node = Node.configure(tmp_path)
    paths = [save(image(32, number=number), tmp_path / f"{number}.dcm") for number in range(3)]
    node.start("receive")
    try:
        assert status_of(node, paths[0]) == "0000"
        with small_disk(node.settings.node.spool / "tmp", "1m,ro"):  # lies over what was there
            assert status_of(node, paths[1]) == "a700"
        assert status_of(node, paths[2]) == "0000"
        assert len(node.store.jobs.ls((), 10)) == 2
        node.fsck()
    finally:
        node.stop()


@pytest.fixture
def outbox(tmp_path: Path, database_url: str) -> Iterator[Outbox]:
    outbox = Outbox.of(Node.configure(tmp_path, database_url=database_url).settings)
    yield outbox
    outbox.close()


def grow_old(outbox: Outbox, days: float) -> None:
    with outbox.store.engine.begin() as connection:
        for table, column in ((tables.instance, "received_at"), (tables.job, "updated_at")):
            connection.execute(update(table).values({column: table.c[column] - days * DAY}))


def set_states(outbox: Outbox, state: JobState) -> None:
    with outbox.store.engine.begin() as connection:
        connection.execute(update(tables.delivery).values(state=state))


def left(outbox: Outbox) -> int:
    return len(outbox.spool.names("in")) + len(outbox.spool.names("outbox"))


def purge(outbox: Outbox) -> int:
    return retention.purge(outbox.spool, outbox.store.instances, RetentionSettings())


@pytest.mark.parametrize("state", [JobState.READY, JobState.RUNNING, JobState.SENT, JobState.DEAD])
def test_what_is_not_delivered_and_committed_is_never_purged(outbox: Outbox, state: JobState) -> None:
    outbox.put(1, "A", "B")
    set_states(outbox, JobState.DONE)
    with outbox.store.engine.begin() as connection:
        connection.execute(update(tables.delivery).where(tables.delivery.c.id == 2).values(state=state))
    grow_old(outbox, 1000)
    assert purge(outbox) == 0
    assert left(outbox) == 2


def test_what_is_delivered_goes_after_its_retention_and_what_is_held_does_not(outbox: Outbox) -> None:
    for number in (1, 2):
        outbox.put(number, "A")
    set_states(outbox, JobState.DONE)
    grow_old(outbox, 29)
    assert purge(outbox) == 0
    outbox.store.instances.hold(1, True)
    grow_old(outbox, 2)
    assert purge(outbox) == 1
    assert left(outbox) == 2
    assert outbox.store.instances.events(2)[-1]["what"] == "purged"
    outbox.store.instances.hold(1, False)
    assert purge(outbox) == 1
    assert left(outbox) == 0


def test_skipped_images_go_earlier_and_dead_ones_stay(outbox: Outbox) -> None:
    outbox.put(1, "A")
    outbox.put(2, "A")
    with outbox.store.engine.begin() as connection:
        connection.execute(update(tables.job).values(state=JobState.SKIPPED).where(tables.job.c.id == 1))
        connection.execute(update(tables.job).values(state=JobState.DEAD).where(tables.job.c.id == 2))
        connection.execute(update(tables.delivery).values(state=JobState.DONE))
    grow_old(outbox, 8)
    assert purge(outbox) == 1
    grow_old(outbox, 1000)
    assert purge(outbox) == 0


def test_nothing_is_purged_while_a_backup_runs(outbox: Outbox) -> None:
    outbox.put(1, "A")
    set_states(outbox, JobState.DONE)
    grow_old(outbox, 1000)
    lock = take(outbox.spool.root, retention.PURGE_LOCK)
    assert purge(outbox) == 0
    lock.free()
    assert purge(outbox) == 1


def test_nothing_is_purged_while_fsck_looks(outbox: Outbox) -> None:
    """What goes between the rows and the look at its file would be told as lost."""
    outbox.put(1, "A")
    set_states(outbox, JobState.DONE)
    grow_old(outbox, 1000)
    purged: list[int] = []
    found = fsck.check(
        outbox.spool, Invariants(outbox.store.engine), progress=lambda fraction: purged.append(purge(outbox))
    )
    assert found.violations == []
    assert purged == [0, 0]
    assert purge(outbox) == 1


def test_a_purge_that_was_cut_off_is_finished_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the rows say so and before the files are gone: they are not taken for new images."""
    node = Node.configure(tmp_path)
    outbox = Outbox.of(node.settings)
    outbox.put(1, "A")
    set_states(outbox, JobState.DONE)
    grow_old(outbox, 1000)
    monkeypatch.setenv(failpoints.VARIABLE, "purge.marked:raise")
    monkeypatch.setenv(failpoints.ENABLED, "enabled")
    failpoints.arm()
    monkeypatch.delenv(failpoints.VARIABLE)
    with pytest.raises(OSError, match="failpoint"):
        purge(outbox)
    assert left(outbox) == 2
    node.start("receive")
    try:
        assert outbox.spool.names("in") == set()
        assert len(node.store.jobs.ls((), 10)) == 1
        retention.sweep_outbox(outbox.spool, outbox.store.outputs, age_s=-1)
        assert left(outbox) == 0
        node.fsck()
    finally:
        node.stop()
        outbox.close()


def test_an_image_that_comes_again_after_its_purge_is_kept_again_and_not_made_again(outbox: Outbox) -> None:
    outbox.put(1, "A")
    set_states(outbox, JobState.DONE)
    grow_old(outbox, 1000)
    assert purge(outbox) == 1
    before = outbox.store.instances.get(1)
    stored = outbox.spool.keep("in", [b"the same bytes"])
    said = Identity(**{field.name: getattr(before, field.name) for field in fields(Identity)})
    same = Stored(name=stored.name, sha256=before.sha256, bytes=stored.bytes)
    again = outbox.store.instances.receive(said, same, transfer_syntax_uid="1.2", origin=Origin(calling_ae="MOD"))
    assert again == before.id
    assert outbox.store.instances.get(1).file == stored.name
    assert outbox.store.instances.get(1).purged_at == 0
    assert [job["state"] for job in outbox.store.jobs.ls((), 10)] == ["done"]


def test_a_purged_image_cannot_be_tried_again(outbox: Outbox) -> None:
    outbox.put(1, "A")
    with outbox.store.engine.begin() as connection:
        connection.execute(update(tables.job).values(state=JobState.SKIPPED))
        connection.execute(update(tables.delivery).values(state=JobState.DONE))
    grow_old(outbox, 8)
    assert purge(outbox) == 1
    with pytest.raises(NotFound, match="was purged"):
        outbox.store.jobs.retry(1)
