"""Hostile callers: each is cut off, and another one's C-ECHO is answered within a second throughout (T32 to T37)."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE, Association
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE, N_EVENT_REPORT
from pynetdicom.dsutils import encode
from support.images import image
from support.node import Node, echo
from support.tools import wait_until

from dicom_sr_node.commitment import wire
from dicom_sr_node.network import guard, requests
from dicom_sr_node.network.requests import Malformed

PDU_S = 1
SECOND = 1.0
MIB = 1 << 20


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    node = Node.configure(tmp_path_factory.mktemp("guarded"))
    node.change("[scp]\n", f"[scp]\npdu_timeout_s = {PDU_S}\nidle_timeout_s = 2\nmax_object_mb = 8\n")
    node.start("receive")
    yield node
    node.stop()


@pytest.fixture
def connections(node: Node) -> Iterator[Callable[[], socket.socket]]:
    opened: list[socket.socket] = []

    def connect() -> socket.socket:
        opened.append(socket.create_connection(("127.0.0.1", node.settings.scp.port)))
        opened[-1].settimeout(20)
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


def proc(node: Node, what: str) -> Path:
    assert node.process is not None
    return Path(f"/proc/{node.process.pid}/{what}")


def memory_mb(node: Node) -> float:
    return int(proc(node, "statm").read_text().split()[1]) * 4096 / MIB


def load(node: Node) -> tuple[int, int, int]:
    """Threads, descriptors, files half written."""
    left = [path for path in (node.settings.node.spool / "tmp").rglob("*") if path.is_file()]
    return len(list(proc(node, "task").iterdir())), len(list(proc(node, "fd").iterdir())), len(left)


@contextmanager
def under_attack(node: Node, *, most_mb: float = 100) -> Iterator[None]:
    """Others are served while it lasts; afterwards nothing is left of it."""
    echo(node)
    base_mb, before = memory_mb(node), load(node)
    yield
    assert echo(node) < SECOND
    assert memory_mb(node) - base_mb < most_mb
    # a database connection of a thread that handled something stays open in the pool
    wait_until(
        lambda: all(a <= b + 4 for a, b in zip(load(node), before, strict=True)), PDU_S + 8, "the end of its traces"
    )
    assert load(node)[2] == 0


def is_cut(connection: socket.socket) -> bool:
    """Wait until the node has closed a connection."""
    with suppress(ConnectionError):
        while connection.recv(65536):
            pass
    return True


def associate(node: Node, *uids: str, title: str = "EVIL") -> Association:
    ae = AE(ae_title=title)
    for uid in uids or ("1.2.840.10008.1.1",):
        ae.add_requested_context(uid, ImplicitVRLittleEndian)
    assoc = ae.associate("127.0.0.1", node.settings.scp.port, ae_title="SRNODE")
    assert assoc.is_established
    return assoc


def raw(assoc: Association) -> socket.socket:
    """The socket below an association, to write to it what pynetdicom would not."""
    connection = assoc.dul.socket.socket
    assert connection is not None
    return connection


def p_data(*fragments: bytes, context: int = 1) -> bytes:
    """PS3.8 9.3.5; each fragment begins with its message control header."""
    items = b"".join(struct.pack(">LB", len(f) + 1, context) + f for f in fragments)
    return struct.pack(">BBL", 4, 0, len(items)) + items


def store_command() -> bytes:
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = image().SOPClassUID, "1.2.3.4"
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    message.command_set.CommandDataSetType = 1
    encoded = encode(message.command_set, True, True)
    assert encoded is not None
    return bytes(encoded)


def test_half_pdus_and_silence(node: Node, connections: Callable[[], socket.socket]) -> None:
    with under_attack(node):
        silent = [connections() for _ in range(200)]
        for number, connection in enumerate(silent):
            with suppress(OSError):  # the oldest had to make room
                connection.sendall(b"\x01\x00\x00"[: number % 4])
        assert max(echo(node) for _ in range(3)) < SECOND
        assert all(map(is_cut, silent))


def test_half_pdus_whose_sender_has_left(node: Node, connections: Callable[[], socket.socket]) -> None:
    with under_attack(node):
        for _ in range(300):
            connection = connections()
            connection.sendall(b"\x01\x00\x00")
            connection.close()
        assert echo(node) < SECOND


def test_a_slow_drip_is_cut_at_the_deadline(node: Node, connections: Callable[[], socket.socket]) -> None:
    def drip(connection: socket.socket, content: bytes) -> float:
        began = time.monotonic()
        with suppress(OSError):
            for byte in content:
                connection.sendall(bytes([byte]))
                time.sleep(0.25)
        return time.monotonic() - began

    with under_attack(node):
        request = struct.pack(">BBL", 1, 0, 500) + bytes(500)
        assert drip(connections(), request[:60]) < PDU_S + 2
        assoc = associate(node)
        assert drip(raw(assoc), p_data(b"\x01" + bytes(100))[:60]) < PDU_S + 2
        assoc.abort()


def test_a_length_of_four_gigabytes_is_cut_at_once(node: Node, connections: Callable[[], socket.socket]) -> None:
    with under_attack(node, most_mb=20):
        for kind in (1, 2, 3, 4, 5, 6, 7, 99):
            huge = struct.pack(">BBL", kind, 0, 0xFFFFFFFF)
            before, assoc = connections(), associate(node)
            for connection in (before, raw(assoc)):
                with suppress(OSError):
                    connection.sendall(huge + bytes(100_000))
            assert is_cut(before)
            wait_until(lambda: not assoc.is_established, PDU_S + 5, "the end of the association")  # noqa: B023 - called at once


@pytest.mark.parametrize("header", [b"\x01", b"\x00"], ids=["command", "data without command"])
def test_fragments_without_end_are_cut(node: Node, header: bytes) -> None:
    with under_attack(node, most_mb=40):
        assoc = associate(node)
        with suppress(OSError):
            for _ in range(400):
                raw(assoc).sendall(p_data(header + bytes(100_000)))
        wait_until(lambda: not assoc.is_established, PDU_S + 5, "the end of the association")


def test_an_image_without_end_is_cut_and_leaves_no_file(node: Node) -> None:
    with under_attack(node, most_mb=40):
        assoc = associate(node, image().SOPClassUID)
        with suppress(OSError):
            raw(assoc).sendall(p_data(b"\x03" + store_command()))
            for _ in range(400):
                raw(assoc).sendall(p_data(b"\x00" + bytes(100_000)))
        wait_until(lambda: not assoc.is_established, PDU_S + 5, "the end of the association")
    assert list((node.settings.node.spool / "in").iterdir()) == []


def test_a_pdu_of_many_tiny_fragments_is_cut(node: Node) -> None:
    with under_attack(node):
        associations = [associate(node, image().SOPClassUID) for _ in range(8)]
        for assoc in associations:
            with suppress(OSError):
                raw(assoc).sendall(p_data(b"\x03" + store_command(), *[b"\x00"] * 100_000))
        assert echo(node) < SECOND
        wait_until(lambda: not any(a.is_established for a in associations), PDU_S + 5, "the end of the associations")


def test_requests_ahead_of_our_answers_are_cut(node: Node) -> None:
    with under_attack(node):
        assoc = associate(node, image().SOPClassUID)
        connection, message = raw(assoc), p_data(b"\x03" + store_command()) + p_data(b"\x02" + bytes(100))
        with suppress(OSError):
            for _ in range(2000):
                connection.sendall(message)
        wait_until(lambda: not assoc.is_established, PDU_S + 5, "the end of the association")


def cancel_command() -> bytes:
    from pydicom import Dataset

    command = Dataset()
    command.CommandField, command.MessageIDBeingRespondedTo, command.CommandDataSetType = 0x0FFF, 9, 0x0101
    encoded = encode(command, True, True)
    assert encoded is not None
    return struct.pack("<HHLL", 0, 0, 4, len(encoded)) + bytes(encoded)


def test_images_that_waited_when_the_sender_left_leave_no_file(node: Node) -> None:
    """Also behind so many cancel requests that nobody counts them as images."""
    slow = b"".join(struct.pack("<HHL", 9, 0x1000 + number, 0) for number in range(60_000))
    image_of_none = p_data(b"\x03" + store_command()) + p_data(b"\x02" + slow)
    with under_attack(node):
        for _ in range(3):
            assoc = associate(node, image().SOPClassUID)
            with suppress(OSError):
                raw(assoc).sendall(image_of_none * 3 + p_data(b"\x03" + cancel_command()) * 9)
            time.sleep(0.05)
            raw(assoc).close()


def test_reports_of_countless_items_do_not_fill_the_memory(node: Node) -> None:
    from pydicom import Dataset
    from pynetdicom.dimse_messages import N_EVENT_REPORT_RQ

    request = N_EVENT_REPORT()
    request.MessageID, request.EventTypeID = 1, 1
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = wire.SOP_CLASS, wire.SOP_INSTANCE
    message = N_EVENT_REPORT_RQ()
    message.primitive_to_message(request)
    message.command_set.CommandDataSetType = 1
    command = encode(message.command_set, True, True)
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2", "1.2.3"
    report = Dataset()
    report.TransactionUID, report.ReferencedSOPSequence = "1.2.3", [item] * (wire.MOST_REFERENCES - 1)
    data = encode(report, True, True)
    assert command is not None
    assert data is not None
    one = p_data(b"\x03" + command) + p_data(b"\x02" + data)

    def flood() -> None:
        assoc = associate(node, wire.SOP_CLASS)
        with suppress(OSError):
            for _ in range(32):
                raw(assoc).sendall(one)
            raw(assoc).close()

    with under_attack(node, most_mb=300):
        threads = [threading.Thread(target=flood) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
            echo(node)


def test_a_commitment_request_of_countless_items_is_refused(node: Node) -> None:
    with under_attack(node, most_mb=150):
        assoc = associate(node, wire.SOP_CLASS)
        ds = wire.CommitmentAction("1.2.3", ()).data_set()
        encoded = encode(ds, True, True) + b"\x08\x00\x99\x11" + struct.pack("<L", 400_000)
        encoded += b"\xfe\xff\x00\xe0\x00\x00\x00\x00" * 50_000
        answer = send_action(assoc, encoded)
        assert answer == 0x0115
        assoc.release()


def send_action(assoc: Association, encoded: bytes) -> int:
    """An N-ACTION with a data set as it is."""
    from io import BytesIO
    from unittest.mock import patch

    from pydicom import Dataset

    with patch("pynetdicom.association.encode", lambda *_: BytesIO(encoded).getvalue()):
        answer, _ = assoc.send_n_action(Dataset(), 1, wire.SOP_CLASS, wire.SOP_INSTANCE)
    return int(answer.Status)


def test_seats_that_are_only_kept_warm_go_to_those_who_ask(node: Node) -> None:
    """Idle associations from one address fill its share; the next one takes the seat of the idlest."""
    with under_attack(node):
        share = node.settings.scp.max_per_address
        idle = [associate(node) for _ in range(share)]
        time.sleep(1.2)  # silent for half of what it may be
        assert echo(node) < SECOND
        wait_until(lambda: sum(a.is_established for a in idle) == share - 1, 5, "one that had to go")
        for assoc in idle:
            assoc.abort()


def test_seats_that_are_taken_again_at_once_are_shared_all_the_same(node: Node) -> None:
    """Somebody keeps an address's share full and comes back as soon as he is sent away."""
    stop = threading.Event()

    def hog(held: list[Association]) -> None:
        ae = AE(ae_title="EVIL")
        ae.add_requested_context("1.2.840.10008.1.1")
        while not stop.wait(0.05):
            held[:] = [assoc for assoc in held if assoc.is_established]
            if len(held) < node.settings.scp.max_per_address // 2:
                held.append(ae.associate("127.0.0.1", node.settings.scp.port, ae_title="SRNODE"))
        for assoc in held:
            assoc.abort()

    with under_attack(node):
        threads = [threading.Thread(target=hog, args=([],)) for _ in range(2)]
        for thread in threads:
            thread.start()
        time.sleep(2)
        took = [echo(node) for _ in range(8)]
        stop.set()
        for thread in threads:
            thread.join()
        assert max(took) < SECOND


def test_a_transfer_keeps_its_seat(node: Node) -> None:
    """Who sends is not idle: callers beyond the share are turned away, for now."""
    share = node.settings.scp.max_per_address
    begun = p_data(b"\x03" + store_command()) + p_data(b"\x00" + bytes(100))
    busy = []
    for _ in range(share):
        busy.append(associate(node, image().SOPClassUID))
        raw(busy[-1]).sendall(begun)
        for assoc in busy:  # all go on
            raw(assoc).sendall(p_data(b"\x00" + bytes(20_000)))
    time.sleep(0.3)
    ae = AE(ae_title="GOOD")
    ae.add_requested_context("1.2.840.10008.1.1")
    assoc = ae.associate("127.0.0.1", node.settings.scp.port, ae_title="SRNODE")
    assert assoc.is_rejected
    answer = assoc.acceptor.primitive
    assert (answer.result, answer.result_source, answer.diagnostic) == (2, 3, 2)  # local limit exceeded, for now
    for assoc in busy:
        assoc.abort()


def test_many_short_connections_leave_nothing(node: Node, connections: Callable[[], socket.socket]) -> None:
    with under_attack(node):
        for _ in range(500):
            connections().close()
        threads = [threading.Thread(target=echo, args=(node,)) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def test_a_thousand_silent_connections_at_a_time_hold_up_nobody(
    node: Node, connections: Callable[[], socket.socket]
) -> None:
    """T36."""
    with under_attack(node):
        silent = [connections() for _ in range(1000)]
        assert echo(node) < SECOND
        for connection in silent:
            assert is_cut(connection)


@pytest.mark.parametrize("content", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", bytes(1000)])
def test_what_is_no_dicom_is_cut(node: Node, connections: Callable[[], socket.socket], content: bytes) -> None:
    with under_attack(node):
        connection = connections()
        connection.sendall(content)
        assert is_cut(connection)


SUPPORTED = {b"1.2.840.10008.1.1": [b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1"]}


def request_pdu() -> bytes:
    """A sound A-ASSOCIATE-RQ, as pynetdicom makes it."""
    from pynetdicom.pdu import A_ASSOCIATE_RQ

    ae = AE(ae_title="GOOD")
    ae.add_requested_context("1.2.840.10008.1.1")
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            connection, _ = server.accept()
            with connection:
                seen.append(connection.recv(65536))

        thread = threading.Thread(target=take)
        thread.start()
        ae.associate("127.0.0.1", server.getsockname()[1], ae_title="SRNODE")
        thread.join()
    A_ASSOCIATE_RQ().decode(seen[0])
    return seen[0]


def test_a_malformed_request_is_refused_before_it_costs_anything(
    node: Node, connections: Callable[[], socket.socket]
) -> None:
    good = request_pdu()
    assert requests.titles(requests.sound(good, SUPPORTED)) == ("SRNODE", "GOOD")
    context, abstract = (good.index(kind, 74) for kind in (b"\x20\x00", b"\x30\x00"))
    items = struct.pack(">BBH", 0x54, 0, 0) * 600
    user = good.index(b"\x50\x00", 74)
    mutants = {
        "even context": good[: context + 4] + b"\x02" + good[context + 5 :],
        "no abstract syntax": good[:abstract] + b"\x41" + good[abstract + 1 :],
        "no transfer syntax": good[:74] + good[74:].replace(b"\x40\x00\x00", b"\x41\x00\x00"),
        "an item longer than the PDU": good[: context + 2] + b"\xff\xff" + good[context + 4 :],
        "no context": good[:74],
        "user items": good[: user + 2] + struct.pack(">H", len(items)) + items,
    }
    with under_attack(node):
        for name, mutant in mutants.items():
            with pytest.raises(Malformed):
                requests.sound(mutant, SUPPORTED)
            sound = struct.pack(">BBL", 1, 0, len(mutant) - 6) + mutant[6:]
            connection = connections()
            connection.sendall(sound)
            assert is_cut(connection), name


def test_an_unknown_pdu_does_not_make_its_successor_a_header(node: Node) -> None:
    """Twelve bytes that once made the node ask for four gigabytes."""
    with under_attack(node, most_mb=20):
        assoc = associate(node)
        with suppress(OSError):
            raw(assoc).sendall(struct.pack(">BBLBBL", 9, 0, 0, 4, 0, 0xFFFFFFFF) + bytes(1000))
        wait_until(lambda: not assoc.is_established, PDU_S + 5, "the end of the association")


@pytest.mark.parametrize("missing", ["AffectedSOPClassUID", "AffectedSOPInstanceUID", "MessageID"])
def test_a_request_that_lacks_what_it_must_have_ends_the_association(node: Node, missing: str) -> None:
    from pydicom.filebase import DicomBytesIO
    from pynetdicom.dsutils import decode

    with under_attack(node):
        assoc = associate(node, image().SOPClassUID)
        command = decode(DicomBytesIO(store_command()), True, True)
        del command[missing]
        encoded = encode(command, True, True)
        assert encoded is not None
        with suppress(OSError):
            raw(assoc).sendall(p_data(b"\x03" + encoded) + p_data(b"\x02" + bytes(100)))
        wait_until(lambda: not assoc.is_established, PDU_S + 1, "the end of the association")


def test_a_second_request_on_one_association_ends_it(node: Node) -> None:
    with under_attack(node):
        assoc = associate(node)
        with suppress(OSError):
            raw(assoc).sendall(request_pdu())
        wait_until(lambda: not assoc.is_established, PDU_S + 5, "the end of the association")


def test_a_report_does_not_unpause_an_association_that_is_being_released() -> None:
    """Its thread took the mark away for which the release waits: a lane stood still until the next start."""

    class Fake:
        _is_paused = True  # and somebody relies on it
        served = False

        def _serve_request(self, message: object, context_id: int) -> None:
            self._is_paused = True
            self.served = True
            self._is_paused = False

    assoc = Fake()
    guard._serve(assoc, assoc._serve_request, N_EVENT_REPORT(), 1)
    assert (assoc._is_paused, assoc.served) == (True, True)
