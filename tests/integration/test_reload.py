"""Another configuration while the node works: nothing is dropped, and a wrong one changes nothing."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
from pynetdicom import AE
from support.archive import Archive
from support.command import srnode
from support.images import image
from support.node import Node
from support.tools import free_port, run, started, wait_until

from dicom_sr_node.domain.records import JobState


@pytest.fixture
def node(tmp_path: Path, archive: Archive) -> Node:
    return Node.configure(tmp_path, peers={"ARCHIVE": archive.port})


def reload(node: Node, *, times: int) -> None:
    """And wait until the receiver has taken it up."""
    srnode("reload", "-c", node.config)
    wait_until(lambda: node.log.read_text().count(" listening ") > times, 30, "the receiver's change")


def test_a_reload_in_the_middle_of_a_transfer_loses_nothing(node: Node, archive: Archive) -> None:
    """Senders go on over associations from before, and open new ones throughout; a new rule decides on the new ones."""
    with started(node):
        ae = AE(ae_title="MOD")
        ae.add_requested_context(image(32).SOPClassUID, "1.2.840.10008.1.2.1")
        before = ae.associate("127.0.0.1", node.settings.scp.port, ae_title="SRNODE")
        assert before.send_c_store(image(32, number=1)).Status == 0x0000
        stop, statuses = threading.Event(), list[int]()

        def send() -> None:
            number = 100
            while not stop.is_set():
                number += 1
                assoc = ae.associate("127.0.0.1", node.settings.scp.port, ae_title="SRNODE")
                statuses.append(assoc.send_c_store(image(32, number=number)).Status if assoc.is_established else -1)
                assoc.release()

        sender = threading.Thread(target=send)
        sender.start()
        node.change('name = "all"\n', 'name = "all"\npriority = "stat"\n')
        reload(node, times=1)
        reload(node, times=2)
        assert before.is_established
        assert before.send_c_store(image(32, number=2)).Status == 0x0000
        before.release()
        stop.set()
        sender.join()
        assert len(statuses) > 3
        assert set(statuses) == {0x0000}
        jobs = node.wait(jobs=len(statuses) + 2)
        assert {job["state"] for job in jobs} == {JobState.DONE}
        assert len(set(archive.uids)) == len(statuses) + 2
        latest = max(jobs, key=lambda job: job["id"])
        assert latest["priority"] == 0
        assert "role ended" not in "".join(line for line in node.log.read_text().splitlines() if " ERROR " in line)
    node.fsck()


def test_another_port_and_title_are_taken_up_and_the_old_ones_left(node: Node) -> None:
    with started(node):
        old, new = node.settings.scp.port, free_port()
        node.change(f"port = {old}", f"port = {new}")
        node.change("[node]\n", '[node]\nae_title = "OTHER"\n')
        reload(node, times=1)
        wait_until(node.listens, 20, "the new port")

        def is_left() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", old)) != 0

        wait_until(is_left, 20, "the end of the old port")
        ae = AE()
        ae.add_requested_context("1.2.840.10008.1.1")
        assoc = ae.associate("127.0.0.1", new, ae_title="OTHER")
        assert assoc.is_established
        assoc.release()


def test_a_wrong_configuration_is_refused_and_the_node_goes_on(node: Node) -> None:
    with started(node):
        assert node.process is not None
        node.config.write_text(node.config.read_text() + "\n[scp2]\n")
        refused = srnode("reload", "-c", node.config, check=False)
        assert refused.returncode == 3
        assert "scp2: unknown key" in refused.stderr
        run("kill", "-HUP", str(node.process.pid))
        wait_until(lambda: "the old one stays" in node.log.read_text(), 20, "the refusal in the log")
        assert node.listens()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            node.config.write_text(node.config.read_text().replace("\n[scp2]\n", ""))
            node.change(f"port = {node.settings.scp.port}", f"port = {taken.getsockname()[1]}")
            run("kill", "-HUP", str(node.process.pid))
            wait_until(lambda: "cannot listen on" in node.log.read_text(), 20, "the refusal of a taken port")
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", int(old_port(node)))) == 0


def old_port(node: Node) -> str:
    """Where the receiver listened first."""
    line = next(line for line in node.log.read_text().splitlines() if " listening " in line)
    return line.partition("port=")[2].split()[0]


def test_nobody_to_reload_is_said(node: Node) -> None:
    refused = srnode("reload", "-c", node.config, check=False)
    assert refused.returncode == 1
    assert "no `srnode serve` works in" in refused.stderr


def test_systemd_is_told_when_it_is_ready_and_when_it_stops(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    from support import tools

    path = node.config.parent / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(path))
        ear.settimeout(60)
        monkeypatch.setitem(tools.ENVIRONMENT, "NOTIFY_SOCKET", str(path))
        with started(node):
            assert ear.recv(100) == b"READY=1"
            assert sum("on cpu" in slot["note"] for slot in node.store.processes.ls()) == 1
        assert ear.recv(100) == b"STOPPING=1"
