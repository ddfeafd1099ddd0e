"""One lane for each destination: rests after failures, priorities, and the same bytes at each try."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event, Thread

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless
from pynetdicom import AE, evt
from pynetdicom.dsutils import encode
from sqlalchemy import update
from support.archive import Archive
from support.images import image, save
from support.node import Node, Outbox
from support.tools import free_port, started, wait_until

from dicom_sr_node.derive import encoding
from dicom_sr_node.dicom import syntaxes
from dicom_sr_node.domain.records import FOLDER, JobState, Priority
from dicom_sr_node.store import tables

NEVER = Event()


@pytest.fixture
def outbox(tmp_path: Path, database_url: str) -> Iterator[Outbox]:
    limits = "response_timeout_s = 2\nconnect_timeout_s = 2\n"
    node = Node.configure(tmp_path, peers={"ARCHIVE": free_port(), "OTHER": free_port()}, database_url=database_url)
    node.change("retry_first_s = 0.5\nretry_max_s = 2", f"{limits}retry_first_s = 30\nretry_max_s = 900")
    outbox = Outbox.of(node.settings)
    yield outbox
    outbox.close()


def archive(outbox: Outbox, *script: int) -> Archive:
    return Archive(outbox.settings.peers["ARCHIVE"].port, script=script)


def rest_s(outbox: Outbox) -> float:
    return float(outbox.store.destinations.ls()["ARCHIVE"]["again_in_s"])


def test_a_destination_that_is_away_is_tried_once_in_growing_pauses_and_gets_everything_later(outbox: Outbox) -> None:
    results = [outbox.put(number, "ARCHIVE") for number in range(3)]
    lane, pauses = outbox.worker("ARCHIVE"), []
    for _ in range(8):
        assert lane.step(NEVER)
        assert not lane.step(NEVER)  # neither this one nor another: the destination rests
        pauses.append(rest_s(outbox))
        outbox.due()
    for number, pause in enumerate(pauses):
        longest = min(900, 30 * 2**number)
        assert 0.8 * longest - 1 <= pause <= longest
    assert outbox.states("ARCHIVE") == {"ready": 3}
    with started(archive(outbox)) as pacs:
        lane.step(NEVER)
        assert pacs.uids == [result.SOPInstanceUID for result in results]
    assert outbox.store.destinations.ls()["ARCHIVE"]["failures"] == 0


def test_a_full_archive_is_left_alone_until_it_takes_the_object_once(outbox: Outbox) -> None:
    outbox.put(1, "ARCHIVE")
    with started(archive(outbox, *[0xA700] * 20)) as pacs:
        lane = outbox.worker("ARCHIVE")
        for tries in range(20):
            lane.step(NEVER)
            assert not lane.step(NEVER)
            assert len(pacs.script) == 19 - tries
            outbox.due()
        lane.step(NEVER)
        assert len(pacs.uids) == 1
    assert outbox.states("ARCHIVE") == {"done": 1}


def test_an_object_that_is_refused_does_not_hold_up_the_next_one(outbox: Outbox) -> None:
    outbox.put(1, "ARCHIVE")
    second = outbox.put(2, "ARCHIVE")
    with started(archive(outbox, 0xA900)) as pacs:
        lane = outbox.worker("ARCHIVE")
        lane.step(NEVER)
        lane.step(NEVER)
        assert pacs.uids == [second.SOPInstanceUID]
    assert outbox.states("ARCHIVE") == {"dead": 1, "done": 1}


@pytest.mark.parametrize("answer", [(1, 1, 1), (1, 1, 7), (1, 2, 1), (1, 3, 2), (2, 3, 1)])
def test_a_rejected_association_is_no_fault_of_what_waits(outbox: Outbox, answer: tuple[int, int, int]) -> None:
    for number in range(6):
        outbox.put(number, "ARCHIVE")
    with started(archive(outbox)) as pacs:
        pacs.rejects = answer
        lane = outbox.worker("ARCHIVE")
        for _ in range(4):
            lane.step(NEVER)
            assert rest_s(outbox) > 20
            outbox.due()
        assert outbox.states("ARCHIVE") == {"ready": 6}
        assert "rejected the association" in outbox.store.destinations.ls()["ARCHIVE"]["reason"]
        pacs.rejects = None
        lane.step(NEVER)
        assert len(pacs.uids) == 6
    assert outbox.states("ARCHIVE") == {"done": 6}


def test_an_archive_that_accepts_no_class_of_ours_is_given_a_rest(outbox: Outbox) -> None:
    outbox.put(1, "ARCHIVE")
    ae = AE(ae_title="ARCHIVE")
    ae.add_supported_context("1.2.840.10008.5.1.4.1.1.4")  # MR
    server = ae.start_server(("127.0.0.1", outbox.settings.peers["ARCHIVE"].port), block=False)
    lane = outbox.worker("ARCHIVE")
    for _ in range(4):
        lane.step(NEVER)
        outbox.due()
    server.shutdown()
    assert outbox.states("ARCHIVE") == {"ready": 1}
    with started(archive(outbox)):
        lane.step(NEVER)
    assert outbox.states("ARCHIVE") == {"done": 1}


@pytest.mark.parametrize("says", [{"AffectedSOPInstanceUID": "1.2.3"}, {"MessageIDBeingRespondedTo": 77}])
def test_an_answer_about_something_else_makes_no_delivery_done(outbox: Outbox, says: dict[str, object]) -> None:
    outbox.put(1, "ARCHIVE")
    with started(archive(outbox)) as pacs:
        pacs.says = says
        lane = outbox.worker("ARCHIVE")
        lane.step(NEVER)
        assert outbox.states("ARCHIVE") == {"ready": 1}
        pacs.says = {"AffectedSOPInstanceUID": outbox.store.outputs.get(1).sop_instance_uid}
        outbox.due()
        lane.step(NEVER)
    assert outbox.states("ARCHIVE") == {"done": 1}


def test_each_request_of_an_association_has_a_message_id_of_its_own(outbox: Outbox) -> None:
    """Or a late answer to the one before could pass for the answer to this one."""
    for number in range(3):
        outbox.put(number, "ARCHIVE")
    numbers: list[int] = []

    def store(event: evt.Event) -> int:
        numbers.append(event.message_id)
        return 0x0000

    with started(archive(outbox)) as pacs:
        pacs._server.bind(evt.EVT_C_STORE, store)
        outbox.worker("ARCHIVE").step(NEVER)
    assert numbers == [1, 2, 3]


def test_failures_of_the_peer_do_not_count_as_doubts_about_the_object(outbox: Outbox) -> None:
    outbox.put(1, "ARCHIVE")
    lane = outbox.worker("ARCHIVE")
    for _ in range(4):  # away
        lane.step(NEVER)
        outbox.due()
    with started(archive(outbox, 0xC000, 0x0110)):
        for _ in range(3):
            lane.step(NEVER)
            outbox.due()
    assert outbox.states("ARCHIVE") == {"done": 1}


def test_an_archive_that_cannot_use_jpeg_ls_gets_the_last_try_plain(outbox: Outbox) -> None:
    outbox.put(1, "ARCHIVE")
    compress(outbox)
    with started(Archive(outbox.settings.peers["ARCHIVE"].port, syntaxes_taken=syntaxes.ACCEPTED)) as pacs:
        pacs.cannot_use = JPEGLSLossless
        lane = outbox.worker("ARCHIVE")
        for _ in range(2):
            lane.step(NEVER)
            (way,) = outbox.store.deliveries.of_output(1)
            assert "sent in JPEG-LS Lossless Image Compression: see `compression`" in way.reason
            outbox.due()
        lane.step(NEVER)
        assert [ds.file_meta.TransferSyntaxUID for ds in pacs.received] == [ExplicitVRLittleEndian]
    assert outbox.states("ARCHIVE") == {"done": 1}


def test_a_result_that_is_damaged_here_is_dead_and_holds_up_no_other(outbox: Outbox) -> None:
    outbox.put(1, "ARCHIVE")
    second = outbox.put(2, "ARCHIVE")
    outbox.spool.path("outbox", outbox.store.outputs.get(1).file).write_bytes(b"no DICOM any more")
    with started(archive(outbox)) as pacs:
        lane = outbox.worker("ARCHIVE")
        lane.step(NEVER)
        lane.step(NEVER)
        assert pacs.uids == [second.SOPInstanceUID]
    assert outbox.states("ARCHIVE") == {"dead": 1, "done": 1}


def test_what_was_superseded_while_its_archive_is_away_is_not_sent_but_by_hand(outbox: Outbox) -> None:
    outbox.put(1, "ARCHIVE")
    lane = outbox.worker("ARCHIVE")
    lane.step(NEVER)  # nobody is there
    with outbox.store.engine.begin() as connection:
        connection.execute(update(tables.output).values(superseded_by=99))
    outbox.due()
    lane.step(NEVER)
    assert outbox.states("ARCHIVE") == {"dead": 1}
    with started(archive(outbox)) as pacs:
        outbox.store.deliveries.retry(1)
        lane.step(NEVER)
        assert len(pacs.uids) == 1


def compress(outbox: Outbox) -> None:
    """The result as a worker would have kept it."""
    output = outbox.store.outputs.get(1)
    path = outbox.spool.path("outbox", output.file)
    path.write_bytes(encoding.compressed(dcmread(path)))


def test_what_no_peer_took_for_too_long_is_dead_and_can_be_sent_by_hand(outbox: Outbox) -> None:
    outbox.put(1, "ARCHIVE")
    with outbox.store.engine.begin() as connection:
        month = outbox.settings.retention.undelivered_days * 86_400
        connection.execute(update(tables.output).values(created_at=tables.output.c.created_at - month - 1))
    lane = outbox.worker("ARCHIVE")
    lane.step(NEVER)
    assert outbox.states("ARCHIVE") == {"dead": 1}
    with started(archive(outbox)) as pacs:
        assert outbox.store.deliveries.retry(1) == 1
        lane.step(NEVER)
        assert len(pacs.uids) == 1


def test_stat_goes_first_and_backfill_last(outbox: Outbox) -> None:
    results = {priority: outbox.put(int(priority), "ARCHIVE") for priority in reversed(Priority)}
    with outbox.store.engine.begin() as connection:
        for row, priority in enumerate(reversed(Priority), start=1):
            connection.execute(update(tables.delivery).where(tables.delivery.c.id == row).values(priority=priority))
    with started(archive(outbox)) as pacs:
        outbox.worker("ARCHIVE").step(NEVER)
        assert pacs.uids == [results[priority].SOPInstanceUID for priority in Priority]


def window(opens_in_h: float, closes_in_h: float) -> str:
    """From now, in local time."""
    now = datetime.now().astimezone()
    return "-".join((now + timedelta(hours=hours)).strftime("%H:%M") for hours in (opens_in_h, closes_in_h))


def test_backfill_waits_for_its_window_while_the_rest_goes_on(tmp_path: Path) -> None:
    rules = '[[rules]]\nname = "old"\nmatch.modality = ["CR"]\npriority = "backfill"\n[[rules]]\nname = "rest"\n'
    node = Node.configure(tmp_path, more=rules)
    node.change("lease_s = 5", f'lease_s = 5\noff_peak = "{window(2, 4)}"')
    with started(node):
        old, new = image(32, modality="CR", number=1), image(32, modality="DX", number=2)
        node.storescu(save(old, tmp_path / "old.dcm"))
        node.storescu(save(new, tmp_path / "new.dcm"))
        wait_until(lambda: node.store.jobs.counts()[JobState.DONE] == 1, 60, "the routine image")
        waiting = node.store.jobs.of_image(str(old.SOPInstanceUID))
        assert waiting is not None
        assert waiting.state == JobState.READY
        assert 1.9 < (waiting.run_at - time.time()) / 3600 < 2.01
    node.change(node.settings.work.off_peak, window(-1, 1))
    with started(node):
        node.storescu(save(image(32, modality="CR", number=3), tmp_path / "third.dcm"))
        wait_until(lambda: node.store.jobs.counts()[JobState.DONE] == 2, 60, "what came within the window")
        with node.store.engine.begin() as connection:
            connection.execute(update(tables.job).values(run_at=0.0))
        node.wait(jobs=3)


def test_a_peer_that_left_the_configuration_makes_its_deliveries_dead(outbox: Outbox) -> None:
    outbox.put(1, "GONE")
    assert outbox.store.deliveries.strays(("ARCHIVE", FOLDER)) == ["GONE"]
    outbox.worker("GONE").step(NEVER)
    assert outbox.states("GONE") == {"dead": 1}
    assert "no peer 'GONE'" in outbox.store.deliveries.of_output(1)[0].reason


def listen(port: int) -> socket.socket:
    server = socket.create_server(("127.0.0.1", port))
    server.settimeout(20)
    return server


@pytest.mark.parametrize("how", ["silent after connecting", "resets at once", "junk"])
def test_a_peer_that_is_no_peer_costs_a_bounded_time(outbox: Outbox, how: str) -> None:
    """And the lane is free again, its threads gone."""
    import threading

    outbox.put(1, "ARCHIVE")
    before, held = threading.active_count(), []

    def serve(server: socket.socket) -> None:
        connection, _ = server.accept()
        held.append(connection)
        if how == "junk":
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" * 100)
        if how == "resets at once":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()

    with listen(outbox.settings.peers["ARCHIVE"].port) as server:
        thread = Thread(target=serve, args=(server,))
        thread.start()
        started_at = time.monotonic()
        outbox.worker("ARCHIVE").step(NEVER)
        took_s = time.monotonic() - started_at
        thread.join()
        for connection in held:
            connection.close()
    assert took_s < 2 + 5  # response_timeout_s
    assert outbox.states("ARCHIVE") == {"ready": 1}
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() <= before


class Confused:
    """A peer that accepts an association, and answers the first message with something else."""

    def __init__(self, port: int, answer: bytes) -> None:
        self.port, self.answer = port, answer
        self.inner = Archive()

    def start(self) -> None:
        self.inner.start()
        self._server = listen(self.port)
        self._thread = Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._server.accept()
        with connection, socket.create_connection(("127.0.0.1", self.inner.port)) as pacs:
            pacs.sendall(connection.recv(65536))  # A-ASSOCIATE-RQ
            connection.sendall(pacs.recv(65536))  # A-ASSOCIATE-AC
            connection.recv(65536)
            context = connection.recv(65536)[10:11] or b"\1"
            connection.sendall(p_data(context + b"\3" + self.answer))
            time.sleep(1)

    def stop(self) -> None:
        self._thread.join()
        self._server.close()
        self.inner.stop()


def p_data(fragment: bytes) -> bytes:
    return struct.pack(">BBLL", 4, 0, len(fragment) + 4, len(fragment)) + fragment


def command(field: int) -> bytes:
    """A successful response of some kind to message 1, or a request."""
    ds = Dataset()
    ds.AffectedSOPClassUID, ds.CommandField, ds.CommandDataSetType = "1.2.840.10008.1.1", field, 0x0101
    if field & 0x8000:
        ds.MessageIDBeingRespondedTo, ds.Status = 1, 0
    else:
        ds.MessageID = 1
    encoded = encode(ds, True, True) or b""
    return struct.pack("<HHLL", 0, 0, 4, len(encoded)) + bytes(encoded)


@pytest.mark.parametrize("field", [0x8030, 0x8020, 0x0001, 0x7777])
def test_an_answer_that_makes_no_sense_is_a_failed_try_and_ends_no_lane(outbox: Outbox, field: int) -> None:
    outbox.put(1, "ARCHIVE")
    with started(Confused(outbox.settings.peers["ARCHIVE"].port, command(field))):
        outbox.worker("ARCHIVE").step(NEVER)
    assert outbox.states("ARCHIVE") == {"ready": 1}
    outbox.due()
    with started(archive(outbox)) as well:
        outbox.worker("ARCHIVE").step(NEVER)
    assert len(well.uids) == 1


class Frozen:
    """A peer that accepts an association and then reads no more: a window of zero."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.inner = Archive()

    def start(self) -> Frozen:
        self.inner.start()
        self._server = socket.create_server(("127.0.0.1", self.port))
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._thread = Thread(target=self._serve)
        self._thread.start()
        return self

    def _serve(self) -> None:
        connection, _ = self._server.accept()
        with connection, socket.create_connection(("127.0.0.1", self.inner.port)) as pacs:
            pacs.sendall(connection.recv(65536))  # A-ASSOCIATE-RQ
            connection.sendall(pacs.recv(65536))  # A-ASSOCIATE-AC
            time.sleep(6)

    def stop(self) -> None:
        self._thread.join()
        self._server.close()
        self.inner.stop()


def test_a_peer_that_stops_reading_is_given_up(outbox: Outbox) -> None:
    outbox.put(1, "ARCHIVE")
    path = outbox.spool.path("outbox", outbox.store.outputs.get(1).file)
    import numpy as np
    from support.images import image, set_pixels

    big = image(32, number=5)
    set_pixels(big, np.zeros((4000, 4000), np.uint16))
    big.save_as(path, enforce_file_format=True)
    with started(Frozen(outbox.settings.peers["ARCHIVE"].port)):
        began = time.monotonic()
        outbox.worker("ARCHIVE").step(NEVER)
        assert time.monotonic() - began < 2 + 5
    assert outbox.states("ARCHIVE") == {"ready": 1}
