"""Killed, or failed by the disk, at every point of the durable journey: nothing lost, nothing doubled (T1 to T12)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.archive import Archive
from support.command import srnode
from support.images import image, save
from support.node import Node
from support.postgres import Postgres
from support.tools import ENVIRONMENT, run, started, wait_until

from dicom_sr_node.domain.records import JobState, Origin
from dicom_sr_node.runtime import failpoints


@contextmanager
def receiving(node: Node, failpoint: str = "") -> Iterator[None]:
    node.start("receive", failpoint=failpoint)
    try:
        yield
    finally:
        node.stop()


def files(node: Node) -> list[str]:
    """What lies in the spool, by folder."""
    root = node.settings.node.spool
    return sorted(
        path.relative_to(root).parts[0] for path in root.rglob("*") if path.is_file() and path.name != "purge"
    )


@pytest.mark.parametrize("point", ["in.written", "in.renamed", "in.committed"])
@pytest.mark.parametrize("before", [0, 1])
def test_a_receiver_killed_at_any_point_loses_and_doubles_nothing(
    tmp_path: Path, database_url: str, point: str, before: int
) -> None:
    """The sender repeats what was not acknowledged."""
    node = Node.configure(tmp_path, database_url=database_url)
    paths = [save(image(32, number=number), tmp_path / f"{number}.dcm") for number in range(2)]
    with receiving(node, f"{point}:kill:{before + 1}"):
        acknowledged = [node.storescu(path, check=False).returncode == 0 for path in paths]
        assert acknowledged == [before > 0, False]
        assert node.process is not None
        assert node.process.wait(10) == -signal.SIGKILL
    with receiving(node):
        kept = node.store.jobs.ls((), 10)
        assert len(kept) == before + (point != "in.written")
        for path in paths:
            node.storescu(path)
        assert len(node.store.jobs.ls((), 10)) == 2
        origins = {node.store.instances.get(row["instance_id"]).origin for row in node.store.jobs.ls((), 10)}
        assert origins == {Origin(calling_ae="STORESCU", called_ae="SRNODE")}
        assert files(node) == ["in", "in"]
        node.fsck()


@pytest.mark.parametrize("point", ["in.written", "in.renamed"])
def test_a_disk_that_fails_is_out_of_resources_and_leaves_nothing(tmp_path: Path, point: str) -> None:
    node = Node.configure(tmp_path)
    path = save(image(32), tmp_path / "a.dcm")
    with receiving(node, f"{point}:raise"):
        refused = node.storescu(path, options=("-R", "-d"), check=False)
        assert "0xa700" in (refused.stdout + refused.stderr).lower()
        assert files(node) == []
        assert node.store.jobs.ls((), 10) == []
        node.storescu(path)
        assert files(node) == ["in"]
        node.fsck()


def test_the_same_image_on_many_associations_at_once_is_one_image(tmp_path: Path, database_url: str) -> None:
    node = Node.configure(tmp_path, database_url=database_url)
    path = save(image(32), tmp_path / "a.dcm")
    with receiving(node):
        codes: list[int] = []
        threads = [
            threading.Thread(target=lambda: codes.append(node.storescu(path, check=False).returncode)) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert codes == [0] * 8
        assert len(node.store.jobs.ls((), 10)) == 1
        assert files(node) == ["in"]
        node.fsck()


# Each point on one database or the other: the code is the same, and a node takes its time to start.
LATER = [
    ("work.claimed", "sqlite"),
    ("outbox.written", "postgresql"),
    ("outbox.renamed", "sqlite"),
    ("work.committed", "postgresql"),
    ("deliver.claimed", "postgresql"),
    ("deliver.sent", "sqlite"),
    ("deliver.committed", "postgresql"),
    ("commitment.begun", "sqlite"),
]


@pytest.mark.parametrize(("point", "kind"), LATER)
def test_a_worker_or_sender_killed_at_any_point_makes_and_sends_one_result(
    tmp_path: Path, point: str, kind: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("postgres").url() if kind == "postgresql" else ""
    with started(Archive(commits="same")) as archive:
        node = Node.configure(tmp_path, peers={"ARCHIVE": archive.port}, database_url=url)
        node.change("retry_first_s = 0.5", "retry_first_s = 0.5\nconnect_timeout_s = 1\nresponse_timeout_s = 2")
        node.start(failpoint=f"{point}:kill")
        try:
            node.storescu(save(image(32), tmp_path / "a.dcm"))
            (job,) = node.wait(jobs=1)
            assert job["state"] == "done"
            node.fsck()
            journal = str(node.store.instances.events(1))
        finally:
            node.stop()
        assert len(set(archive.uids)) == 1
        if point == "deliver.sent":  # killed between the archive's answer and our row: sent again, the same bytes
            assert len(archive.uids) == 2
            assert archive.received[0] == archive.received[1]
    assert "again_in_s" in node.log.read_text() or "exit code -9" in journal


def test_every_point_is_tried_here_or_elsewhere() -> None:
    tried = {"in.written", "in.renamed", "in.committed", "purge.marked", *(point for point, _ in LATER)}
    assert tried == set(failpoints.POINTS)


def test_a_node_that_is_to_fail_must_be_told_twice(tmp_path: Path) -> None:
    node = Node.configure(tmp_path)
    command = [sys.executable, "-m", "dicom_sr_node", "-c", str(node.config), "receive"]
    for value, more in (("in.written:kill", {}), ("nowhere:kill", {"SRNODE_FAILPOINTS": "enabled"})):
        environment = ENVIRONMENT | {"SRNODE_FAILPOINT": value} | more
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 3
        assert "SRNODE_FAILPOINT" in done.stderr


def test_an_image_that_crashes_the_process_twice_is_dead_and_the_next_is_served(
    tmp_path: Path, archive: Archive
) -> None:
    with started(Node.configure(tmp_path, peers={"ARCHIVE": archive.port})) as node:
        node.storescu(save(image(600), tmp_path / "poison.dcm"))
        for attempt in (1, 2):
            wait_until(lambda: node.store.jobs.get(1).attempt == attempt, 60, f"try {attempt}")  # noqa: B023 - called at once
            wait_until(lambda: node.store.jobs.get(1).state == JobState.RUNNING, 10)
            (worker,) = node.pids("work")
            for child in run("pgrep", "-P", str(worker)).stdout.split():
                os.kill(int(child), signal.SIGSEGV)
        node.storescu(save(image(32, number=2), tmp_path / "good.dcm"))
        poison, good = sorted(node.wait(jobs=2), key=lambda job: job["id"])
        assert (poison["state"], good["state"]) == ("dead", "done")
        assert "exit code -11" in poison["reason"]
        srnode("jobs", "export", "1", "-o", tmp_path / "dead", "-c", node.config)
        assert (tmp_path / "dead" / "job-1.dcm").is_file()
        srnode("jobs", "retry", "1", "-c", node.config)
        node.wait(jobs=2)
        assert len(set(archive.uids)) == 2
        node.fsck()


def test_a_worker_that_was_stopped_for_longer_than_its_lease_is_fenced(
    tmp_path: Path, archive: Archive, postgres: Postgres
) -> None:
    node = Node.configure(tmp_path, peers={"ARCHIVE": archive.port}, database_url=postgres.url())
    node.change("lease_s = 5", "lease_s = 2")
    with started(node):
        node.storescu(save(image(700), tmp_path / "a.dcm"))
        wait_until(lambda: node.store.jobs.counts()[JobState.RUNNING], 60, "the start of the work")
        (stopped,) = node.pids("work")
        family = [stopped, *map(int, run("pgrep", "-P", str(stopped)).stdout.split())]
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        command = [sys.executable, "-m", "dicom_sr_node", "-c", str(node.config), "work"]
        with node.log.open("ab") as log, subprocess.Popen(command, env=ENVIRONMENT, stderr=log) as other:
            try:
                node.wait(jobs=1)
                for pid in family:
                    os.kill(pid, signal.SIGCONT)
                wait_until(lambda: "fenced" in node.log.read_text(), 30, "the end of the late one")
            finally:
                other.terminate()
        assert len(archive.uids) == 1
        assert len(node.store.outputs.of_job(1)) == 1
        node.fsck()


def test_postgresql_restarts_under_the_node(tmp_path: Path, archive: Archive, postgres: Postgres) -> None:
    node = Node.configure(tmp_path, peers={"ARCHIVE": archive.port}, database_url=postgres.url())
    with started(node):
        node.storescu(save(image(32, number=1), tmp_path / "1.dcm"))
        node.wait(jobs=1)
        pids = [node.pids(role) for role in ("receive", "work", "deliver")]
        postgres.restart()
        node.storescu(save(image(32, number=2), tmp_path / "2.dcm"))
        node.wait(jobs=2)
        assert [node.pids(role) for role in ("receive", "work", "deliver")] == pids  # none of them died
        assert len(archive.uids) == 2
        node.fsck()
