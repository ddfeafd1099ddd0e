"""kill -9 at the worst moment: every image still arrives, once."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest
from support.archive import Archive
from support.images import image, save
from support.node import Node
from support.tools import is_gone, run, started, wait_until

from dicom_sr_node.domain.records import JobState

BIG = 512  # pixels a side: more than a second of work, so that there is a middle


@pytest.fixture
def big(tmp_path: Path) -> Path:
    return save(image(BIG), tmp_path / "big.dcm")


def running(node: Node) -> bool:
    return node.store.jobs.counts()[JobState.RUNNING] == 1


def assert_delivered_once(node: Node, archive: Archive, images: int = 1) -> None:
    jobs = node.wait(jobs=images)
    assert {job["state"] for job in jobs} == {"done"}
    assert len(archive.uids) == len(set(archive.uids)) == images


def test_a_worker_killed_in_the_middle_of_an_image(node: Node, archive: Archive, big: Path) -> None:
    node.storescu(big)
    wait_until(lambda: running(node), 60, "the start of the work")
    node.kill("work")
    assert_delivered_once(node, archive)
    (job,) = node.store.jobs.ls((), 10)
    assert job["attempt"] == 2


def test_the_computing_process_killed_in_the_middle_of_an_image(node: Node, archive: Archive, big: Path) -> None:
    node.storescu(big)
    wait_until(lambda: running(node), 60, "the start of the work")
    (worker,) = node.pids("work")
    for child in run("pgrep", "-P", str(worker)).stdout.split():
        os.kill(int(child), signal.SIGKILL)
    assert_delivered_once(node, archive)
    assert "SIGKILL" not in node.log.read_text()
    assert "exit code -9" in str(node.store.instances.events(1))


def test_every_role_killed_one_after_the_other(node: Node, archive: Archive, tmp_path: Path) -> None:
    sources = [save(image(64, number=number), tmp_path / f"{number}.dcm") for number in range(1, 5)]
    node.storescu(sources[0])
    for source, role in zip(sources[1:], ("receive", "work", "deliver"), strict=True):
        node.kill(role)
        wait_until(node.listens, 30, "the receiver's return")
        node.storescu(source)
    jobs = node.wait(jobs=4)
    assert {job["state"] for job in jobs} == {"done"}
    kept = {str(ds.SOPInstanceUID): ds for ds in archive.received}
    assert len(kept) == 4
    # killed between the archive's answer and our row, delivery sends the same object again
    assert all(ds == kept[str(ds.SOPInstanceUID)] for ds in archive.received)


def test_the_whole_node_killed_and_started_again(tmp_path: Path, archive: Archive, big: Path) -> None:
    node = Node.configure(tmp_path, peers={"ARCHIVE": archive.port})
    node.start()
    node.storescu(big)
    wait_until(lambda: running(node), 60, "the start of the work")
    assert node.process is not None
    os.killpg(node.process.pid, signal.SIGKILL)
    for role in ("receive", "work", "deliver"):
        run("pkill", "-KILL", "-f", f"{node.config} {role}", check=False)
    node.process.wait()
    with started(node):
        assert_delivered_once(node, archive)


def test_roles_end_when_their_supervisor_is_killed(tmp_path: Path, archive: Archive) -> None:
    node = Node.configure(tmp_path, peers={"ARCHIVE": archive.port})
    node.start()
    assert node.process is not None
    roles = [wait_until(partial(node.pids, role), 30)[0] for role in ("receive", "work", "deliver")]
    os.kill(node.process.pid, signal.SIGKILL)
    node.process.wait()
    wait_until(lambda: all(map(is_gone, roles)), 60, "the end of the roles")
    node.store.engine.dispose()


def test_sigterm_ends_the_node_in_good_order_and_the_job_goes_back(node: Node, archive: Archive, big: Path) -> None:
    node.storescu(big)
    wait_until(lambda: running(node), 60, "the start of the work")
    node.stop()
    assert node.store.jobs.counts()[JobState.READY] == 1
    assert node.store.processes.ls() == []
    (job,) = node.store.jobs.ls((), 10)
    assert job["failures"] == 0  # stopping is no failure
    node.start()
    assert_delivered_once(node, archive)


def test_an_image_that_is_never_finished_ends_dead_and_the_next_one_is_served(tmp_path: Path, archive: Archive) -> None:
    node = Node.configure(tmp_path, peers={"ARCHIVE": archive.port})
    node.change("lease_s = 5", "lease_s = 5\ndeadline_s = 5\nmax_attempts = 2")
    with started(node):
        node.storescu(save(image(BIG), tmp_path / "poison.dcm"))
        for attempt in (1, 2):
            wait_until(lambda: node.store.jobs.get(1).attempt == attempt and running(node), 60, f"try {attempt}")  # noqa: B023 - called at once
            (worker,) = node.pids("work")
            for child in run("pgrep", "-P", str(worker)).stdout.split():
                os.kill(int(child), signal.SIGSTOP)
        node.storescu(save(image(32, number=2), tmp_path / "good.dcm"))
        poison, good = sorted(node.wait(jobs=2), key=lambda job: job["id"])
    assert poison["state"] == "dead"
    assert "given up after 2 tries" in poison["reason"]
    assert "not finished within 5 s" in poison["reason"]
    assert good["state"] == "done"
    assert len(archive.uids) == 1


def test_altered_weights_stop_the_work_but_not_the_receiving(tmp_path: Path) -> None:
    import json

    from model import checkpoint

    weights = tmp_path / "bad.safetensors"
    original = checkpoint.find("xr-lite")
    weights.write_bytes(original.read_bytes()[:-1] + b"\0")
    weights.with_suffix(".json").write_text(original.with_suffix(".json").read_text())
    node = Node.configure(tmp_path)
    node.change('"xr-lite"', json.dumps(str(weights)))
    with started(node):
        node.storescu(save(image(), tmp_path / "a.dcm"))
        wait_until(lambda: "is not what its card describes" in node.log.read_text(), 60, "the refusal of the weights")
        assert node.store.jobs.counts()[JobState.READY] == 1
        node.storescu(save(image(number=2), tmp_path / "b.dcm"))
