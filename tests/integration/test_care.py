"""fsck finds what is broken, a backup gives it back, doctor says what to change."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from pynetdicom import AE
from sqlalchemy import delete, select, update
from support.archive import Archive
from support.command import srnode
from support.images import image, save
from support.node import Node, Outbox
from support.orthanc import Orthanc
from support.tools import free_port, run, started, wait_until

from dicom_sr_node.domain.records import JobState
from dicom_sr_node.store import tables
from dicom_sr_node.store.database import Store


@pytest.fixture
def node(tmp_path: Path, database_url: str) -> Node:
    return Node.configure(tmp_path, database_url=database_url)


@pytest.fixture
def outbox(node: Node) -> Iterator[Outbox]:
    """Three images with their results."""
    outbox = Outbox.of(node.settings)
    for number in (1, 2, 3):
        outbox.put(number, "A")
    yield outbox
    outbox.close()


def fsck(node: Node) -> list[str]:
    done = srnode("fsck", "--json", "-c", node.config, check=False)
    found: list[str] = json.loads(done.stdout)["violations"]
    assert done.returncode == (1 if found else 0)
    return found


def spoil_source(outbox: Outbox) -> None:
    path = outbox.spool.path("in", outbox.store.instances.get(1).file)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def remove_source(outbox: Outbox) -> None:
    outbox.spool.discard("in", outbox.store.instances.get(1).file)


def cut_result(outbox: Outbox) -> None:
    path = outbox.spool.path("outbox", outbox.store.outputs.get(1).file)
    path.write_bytes(path.read_bytes()[:-10])


def forget(outbox: Outbox, *statements: object) -> None:
    with outbox.store.engine.begin() as connection:
        for statement in statements:
            connection.execute(statement)  # type: ignore[call-overload]


def lose_result(outbox: Outbox) -> None:
    way, made = tables.delivery, tables.output
    forget(outbox, delete(way).where(way.c.output_id == 2), delete(made).where(made.c.id == 2))


def skip_job(outbox: Outbox) -> None:
    forget(outbox, update(tables.job).where(tables.job.c.id == 3).values(state=JobState.SKIPPED))


def lose_delivery(outbox: Outbox) -> None:
    forget(outbox, delete(tables.delivery).where(tables.delivery.c.id == 1))


def forget_lease(outbox: Outbox) -> None:
    running = {"state": JobState.RUNNING, "lease_until": 1.0}
    forget(outbox, update(tables.delivery).where(tables.delivery.c.id == 1).values(**running))


BROKEN: list[tuple[str, Callable[[Outbox], None]]] = [
    ("I1 image 1: its file .* another sha256", spoil_source),
    ("I1 image 1: its file .* is not there", remove_source),
    ("I1 output 1: its file .* bytes, not", cut_result),
    ("I2 job 2 is done without", lose_result),
    ("I2 job 3 is skipped and has", skip_job),
    ("I3 output 1 has no delivery", lose_delivery),
    ("I5 delivery 1 is running", forget_lease),
]


@pytest.mark.parametrize(("told", "spoil"), BROKEN, ids=[spoil.__name__ for _, spoil in BROKEN])
def test_fsck_names_each_broken_promise(node: Node, outbox: Outbox, told: str, spoil: Callable[[Outbox], None]) -> None:
    import re

    assert fsck(node) == []
    spoil(outbox)
    found = fsck(node)
    assert len(found) == 1, found
    assert re.match(told, found[0]), found


def content(store: Store) -> dict[str, object]:
    return {
        "jobs": store.jobs.ls((), 100),
        "images": [vars(store.instances.get(n)) for n in (1, 2, 3)],
        "ways": [vars(way) for n in (1, 2, 3) for way in store.deliveries.of_output(n)],
        "journal": store.instances.events(1),
    }


def test_a_backup_is_restored_on_either_database(
    node: Node, outbox: Outbox, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Into the other one: that is also the way from one machine to many."""
    folder = tmp_path / "backup"
    srnode("backup", folder, "-c", node.config)
    assert folder.stat().st_mode & 0o077 == 0
    other_url = "" if node.settings.database.url else request.getfixturevalue("postgres").url()
    home = tmp_path / "other"
    home.mkdir()
    other = Node.configure(home, database_url=other_url)
    srnode("restore", folder, "-c", other.config)
    assert fsck(other) == []
    restored = Outbox.of(other.settings)
    assert content(restored.store) == content(outbox.store)
    restored.put(4, "A")  # numbers go on where they were
    assert restored.store.instances.get(4).id == 4
    assert fsck(other) == []
    refused = srnode("restore", folder, "-c", other.config, check=False)
    assert refused.returncode == 1
    assert "not empty" in refused.stderr
    restored.close()


def test_a_second_backup_brings_the_first_up_to_date_and_damage_is_told(
    node: Node, outbox: Outbox, tmp_path: Path
) -> None:
    folder = tmp_path / "backup"
    srnode("backup", folder, "-c", node.config)
    first = {path.name: path.stat().st_ino for path in (folder / "in").iterdir()}
    outbox.put(4, "A")
    srnode("backup", folder, "-c", node.config)
    second = {path.name: path.stat().st_ino for path in (folder / "in").iterdir()}
    assert len(second) == 4
    assert first.items() <= second.items()  # not copied again
    remove_source(outbox)
    (folder / "in" / outbox.store.instances.get(1).file).unlink()
    told = srnode("backup", folder, "-c", node.config, check=False)
    assert told.returncode == 1
    assert "MISSING" in told.stdout
    rows = folder / "database.jsonl"
    rows.write_bytes(rows.read_bytes().replace(b'"DX"', b'"CR"', 1))
    home = tmp_path / "other"
    home.mkdir()
    refused = srnode("restore", folder, "-c", Node.configure(home).config, check=False)
    assert "is not what was written" in refused.stderr


def verdicts(node: Node) -> dict[str, str]:
    done = srnode("doctor", "--json", "-c", node.config, check=False)
    return {check["name"]: check["verdict"] for check in json.loads(done.stdout)}


def test_doctor_tries_everything_with_a_real_pacs(tmp_path: Path) -> None:
    port = free_port()
    with started(Orthanc(tmp_path / "orthanc", DicomModalities={"NODE": ["SRNODE", "127.0.0.1", port]})) as orthanc:
        node = Node.configure(tmp_path, peers={"ORTHANC": orthanc.port}, port=port)
        node.start("receive")
        try:
            found = verdicts(node)
        finally:
            node.stop()
    wanted: tuple[str, ...] = ("disk", "space", "database", "clock", "port", "model")
    wanted += tuple(f"ORTHANC {what}" for what in ("tcp", "association", "images", "echo", "commitment"))
    assert {name: found[name] for name in wanted} == dict.fromkeys(wanted, "PASS")


def test_doctor_says_what_is_wrong_with_a_peer(tmp_path: Path) -> None:
    with started(Archive()) as archive:
        node = Node.configure(tmp_path, peers={"GONE": free_port(), "ARCHIVE": archive.port})
        node.change('ae_title = "ARCHIVE"', 'ae_title = "ARCHIVE"\ncommitment = "required"')
        srnode("db", "upgrade", "-c", node.config)
        found = verdicts(node)
        assert found["GONE tcp"] == "FAIL"
        assert found["ARCHIVE association"] == "PASS"
        assert found["ARCHIVE commitment"] == "FAIL"
        told = srnode("doctor", "-c", node.config, check=False)
        assert told.returncode == 1
        assert "-> allow it there, or set commitment to optional or off" in told.stdout


def test_db_upgrade_says_what_it_did_and_a_newer_schema_is_refused(node: Node) -> None:
    assert "it was none" in srnode("db", "upgrade", "-c", node.config).stdout
    assert "already" in srnode("db", "upgrade", "-c", node.config).stdout
    outbox = Outbox.of(node.settings)
    with outbox.store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    refused = srnode("db", "upgrade", "-c", node.config, check=False)
    assert refused.returncode == 1
    assert "newer version" in refused.stderr
    outbox.close()


def own_address() -> str:
    """One of this machine that is not loopback; where there is none, one of the documentation's range is added."""
    found = [a for a in run("hostname", "-I", check=False).stdout.split() if "." in a]
    if not found:
        run("ip", "address", "add", "192.0.2.77/32", "dev", "lo", check=False)
        found = ["192.0.2.77"]
    return found[0]


def test_refused_callers_are_shown_with_the_lines_that_would_let_them_in(tmp_path: Path) -> None:
    node = Node.configure(tmp_path)
    node.change("[scp]\n", '[scp]\nhost = "0.0.0.0"\n')
    address = own_address()
    node.start("receive")
    try:
        for _ in range(3):
            ae = AE(ae_title="XRAY_1")
            ae.add_requested_context("1.2.840.10008.1.1")
            assoc = ae.associate(address, node.settings.scp.port, ae_title="SRNODE")
            assert assoc.is_rejected
            assert assoc.acceptor.primitive.diagnostic == 3
        wait_until(node.store.refused.ls, 10, "the note of the refusal")
        told = srnode("status", "-c", node.config).stdout
        assert f"refused 3 times: 'XRAY_1' from {address}: unknown AE title" in told
        (caller,) = json.loads(srnode("status", "--json", "-c", node.config).stdout)["refused"]
    finally:
        node.stop()
    node.config.write_text(node.config.read_text() + caller["line_to_add"])
    node.start("receive")
    try:
        ae = AE(ae_title="XRAY_1")
        ae.add_requested_context("1.2.840.10008.1.1")
        assoc = ae.associate(address, node.settings.scp.port, ae_title="SRNODE")
        assert assoc.is_established
        assoc.release()
    finally:
        node.stop()


def test_the_audit_trail_tells_start_transfer_refusal_and_stop_in_order(tmp_path: Path, archive: Archive) -> None:
    node = Node.configure(tmp_path, peers={"ARCHIVE": archive.port}, more='[audit]\nto = "file"')
    trail = node.settings.node.data_dir / "audit.log"
    with started(node):
        wait_until(lambda: trail.exists() and trail.read_text().count("110100") == 3, 60, "the start of three roles")
        node.storescu(save(image(32), tmp_path / "a.dcm"))
        node.wait(jobs=1)
        ae = AE(ae_title="LOST")
        ae.add_requested_context("1.2.840.10008.1.1")
        assert ae.associate("127.0.0.1", node.settings.scp.port, ae_title="OTHER").is_rejected
        wait_until(lambda: "110113" in trail.read_text(), 20, "the refusal in the trail")
    messages = [Xml.fromstring(line) for line in trail.read_text().splitlines()]  # noqa: S314 - our own
    said = [m.find("EventIdentification/EventID").get("csd-code") for m in messages]  # type: ignore[union-attr]
    kinds = [m.find("EventIdentification").get("EventActionCode") for m in messages]  # type: ignore[union-attr]
    assert said[:3] == ["110100"] * 3  # three roles started
    assert [(s, k) for s, k in zip(said, kinds, strict=True) if s == "110104"] == [("110104", "C"), ("110104", "R")]
    transferred = next(m for m in messages if "110104" in Xml.tostring(m, encoding="unicode"))
    objects = [o.get("ParticipantObjectID") for o in transferred.iter("ParticipantObjectIdentification")]
    assert objects == [image(32).StudyInstanceUID, image(32).PatientID]
    assert trail.stat().st_mode & 0o077 == 0


def test_the_trail_waits_for_its_disk_and_loses_nothing(tmp_path: Path) -> None:
    node = Node.configure(tmp_path, more='[audit]\nto = "file"')
    blocker = node.settings.node.data_dir / "audit.log"
    blocker.mkdir(parents=True)
    node.start()
    try:
        node.storescu(save(image(32), tmp_path / "a.dcm"))
        wait_until(lambda: "audit message waits" in node.log.read_text(), 20, "a failed try")
        blocker.rmdir()
        wait_until(lambda: blocker.is_file() and "110104" in blocker.read_text(), 20, "the message")
    finally:
        node.stop()


def test_two_nodes_on_one_postgresql_share_the_work_and_survive_each_other(
    tmp_path: Path, archive: Archive, request: pytest.FixtureRequest
) -> None:
    """Each with a data directory of its own, a spool in common; one is killed whole (T13)."""
    import signal

    url = request.getfixturevalue("postgres").url()
    nodes = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        node = Node.configure(tmp_path / name, peers={"ARCHIVE": archive.port}, database_url=url)
        node.change("[node]\n", f'[node]\nspool_dir = "{tmp_path / "spool"}"\n')
        # what a killed one was sending is taken over after twice the sum of these
        node.change("[delivery]\n", "[delivery]\nconnect_timeout_s = 1\nresponse_timeout_s = 4\n")
        nodes.append(node)
    one, two = nodes
    with started(one), started(two):
        wait_until(lambda: sum("on cpu" in slot["note"] for slot in one.store.processes.ls()) == 2, 60, "two workers")
        for number in range(12):
            (one if number % 2 else two).storescu(save(image(64, number=number), tmp_path / f"{number}.dcm"))
        wait_until(lambda: one.store.jobs.counts()[JobState.DONE] >= 3, 60, "some of the work")
        assert one.process is not None
        for pid in [one.process.pid, *map(int, run("pgrep", "-f", str(one.config)).stdout.split())]:
            os.kill(pid, signal.SIGKILL)
        one.process.wait()
        jobs = two.wait(jobs=12)
        assert {job["state"] for job in jobs} == {"done"}
        workers = {job["worker"].partition("/")[0] for job in jobs}
        assert len(workers) == 2, "one of them did nothing"
        assert len(set(archive.uids)) == 12
        two.fsck()


def test_what_is_done_on_the_command_line_is_audited_under_the_user_s_name(tmp_path: Path) -> None:
    node = Node.configure(tmp_path, more='[audit]\nto = "file"\n')
    outbox = Outbox.of(node.settings)
    outbox.put(1, "ARCHIVE")
    with outbox.store.engine.begin() as connection:
        connection.execute(update(tables.delivery).values(state=JobState.DEAD))
    for command in (("jobs", "hold", "1"), ("jobs", "retry", "1"), ("models", "canary", "xr", "--percent", "5")):
        srnode(*command, "-c", node.config)
    with outbox.store.engine.begin() as connection:
        trail = list(connection.scalars(select(tables.audit.c.message).order_by(tables.audit.c.id)))
    journal = [event["text"] for event in outbox.store.instances.events(1)]
    outbox.close()
    assert len(trail) == 3
    for message, told in zip(trail, ("hold image 1", "retry image 1", "xr makes 5 % of all series"), strict=True):
        assert told in message
        assert f'UserID="{getpass.getuser()} (command line)"' in message
    assert any(f"by {getpass.getuser()}" in text for text in journal)


def test_root_leaves_nothing_in_the_data_of_another_user(tmp_path: Path) -> None:
    """These tests run as root; the data belong to somebody else."""
    node = Node.configure(tmp_path)
    data_dir = node.settings.node.data_dir
    data_dir.mkdir()
    os.chown(data_dir, 65534, 65534)
    for command in (("status",), ("doctor",), ("selftest",), ("models", "install", "x.safetensors"), ("serve",)):
        done = srnode(*command, "-c", node.config, check=False)
        assert done.returncode == 1, command
        assert "sudo -u nobody srnode" in done.stderr, command
    assert list(data_dir.iterdir()) == []


def test_a_dashboard_that_is_open_to_others_in_the_clear_is_a_warning(tmp_path: Path) -> None:
    node = Node.configure(tmp_path)
    node.change("enabled = false", 'host = "0.0.0.0"')
    Outbox.of(node.settings).close()
    checks = json.loads(srnode("doctor", "--json", "-c", node.config, check=False).stdout)
    assert [check["verdict"] for check in checks if check["name"] == "dashboard"] == ["WARN"]
