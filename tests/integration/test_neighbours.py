"""Odd and hostile neighbours: real callers are let in, who is turned away is told, and nobody costs much."""

from __future__ import annotations

import hashlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from statistics import median

import pytest
from pynetdicom import AE
from support.certificates import Authority, context, section
from support.images import image
from support.node import Node, Outbox, echo
from support.tools import free_port, started, wait_until

from dicom_sr_node.config.delivering import DeliverySettings
from dicom_sr_node.config.destinations import Peer
from dicom_sr_node.config.receiving import TlsSettings
from dicom_sr_node.dicom import syntaxes
from dicom_sr_node.domain.errors import PeerUnreachable
from dicom_sr_node.network import associations
from dicom_sr_node.network.local_entity import LocalEntity

ACCEPTED, REJECTED, ABORTED = 2, 3, 7  # PDU types
DX = b"1.2.840.10008.5.1.4.1.1.1.1"


def item(kind: int, body: bytes) -> bytes:
    return bytes([kind, 0]) + struct.pack(">H", len(body)) + body


def context_item(number: int, abstract: bytes, *syntaxes: bytes) -> bytes:
    body = item(0x30, abstract) + b"".join(item(0x40, syntax) for syntax in syntaxes)
    return item(0x20, bytes([number, 0, 0, 0]) + body)


def request(
    *,
    version: int = 1,
    called: bytes = b"SRNODE",
    calling: bytes = b"MOD",
    contexts: bytes = context_item(1, b"1.2.840.10008.1.1", b"1.2.840.10008.1.2"),
    user: bytes = item(0x51, struct.pack(">L", 16384)) + item(0x52, b"1.2.3"),
    more: bytes = b"",
) -> bytes:
    """An A-ASSOCIATE-RQ, byte for byte (PS3.8 9.3.2)."""
    fixed = struct.pack(">HH", version, 0) + called.ljust(16) + calling.ljust(16) + bytes(32)
    body = fixed + item(0x10, b"1.2.840.10008.3.1.1.1") + contexts + more + item(0x50, user)
    return struct.pack(">BBL", 1, 0, len(body)) + body


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    node = Node.configure(tmp_path_factory.mktemp("neighbours"))
    node.start("receive")
    yield node
    node.stop()


def answer(node: Node, pdu: bytes, address: str = "127.0.0.1") -> bytes:
    """The first PDU that comes back, or what there is of it."""
    with socket.create_connection(("127.0.0.1", node.settings.scp.port), 10, (address, 0)) as connection:
        connection.sendall(pdu)
        return connection.recv(65536)


def refused(node: Node, why: str) -> dict[str, object]:
    """The caller that was turned away for this reason, once it is written down."""

    def found() -> dict[str, object] | None:
        return next((row for row in node.store.refused.ls() if why in str(row["why"])), None)

    return wait_until(found, 10, f"{why} among the refused callers")


@pytest.mark.parametrize(
    "pdu",
    [
        request(calling=b"MOD".ljust(16, b"\0")),
        request(calling=b"MOD\0garbage\xff", called=b"SRNODE\0\xfe"),
        request(calling="RÖNTGEN".encode("latin-1")),
        request(user=item(0x51, struct.pack(">L", 0)) + item(0x52, b"1.2.3") + item(0x55, b"A_NAME_OF_MORE_THAN_16")),
        request(user=item(0x51, struct.pack(">L", 0)) + item(0x52, b"1.2.3") + item(0x5A, b"new")),
        request(user=item(0x51, struct.pack(">L", 0)) + item(0x52, b"one.two") + item(0x55, b"\xfc")),
        request(more=item(0x77, b"new")),
        request(version=0x0003),
        request(contexts=context_item(1, b"1.2.840.10008.1.1\0", b"1.2.840.10008.1.2\0")),
        request(contexts=context_item(1, DX, b"1.2.3") + context_item(3, b"1.2.840.10008.1.1", b"1.2.840.10008.1.2")),
    ],
    ids=[
        "NUL",
        "NUL and more",
        "Latin-1",
        "long version",
        "new item",
        "no UID",
        "new kind",
        "version 3",
        "padded",
        "two",
    ],
)
def test_real_callers_are_let_in_as_they_are(node: Node, pdu: bytes) -> None:
    assert answer(node, pdu)[0] == ACCEPTED


def test_of_many_transfer_syntaxes_the_one_that_the_node_prefers_is_accepted(node: Node) -> None:
    """As when pynetdicom sees them all."""
    offered = ["1.2.3.4", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2"]
    ae = AE()
    ae.add_requested_context(DX.decode(), offered)
    ae.add_requested_context("1.2.840.10008.5.1.4.1.1.2", ["1.2.3.4"])
    assoc = ae.associate("127.0.0.1", node.settings.scp.port, ae_title="SRNODE")
    assert assoc.is_established
    (accepted,) = assoc.accepted_contexts
    assert (accepted.abstract_syntax, accepted.transfer_syntax) == (
        DX.decode(),
        [next(uid for uid in syntaxes.ACCEPTED if uid in offered)],
    )
    assert [context.abstract_syntax for context in assoc.rejected_contexts] == ["1.2.840.10008.5.1.4.1.1.2"]
    assoc.release()


TURNED_AWAY = [
    (request(version=0x0002), REJECTED, "protocol version 0x0002"),
    (request(called=b""), REJECTED, "no called AE title"),
    (request(calling=b"\0"), REJECTED, "no calling AE title"),
    (request(contexts=b""), ABORTED, "no presentation context"),
    (request(contexts=context_item(2, b"1.2.840.10008.1.1", b"1.2.840.10008.1.2")), ABORTED, "even"),
    (b"GET / HTTP/1.1\r\n\r\n", ABORTED, "no A-ASSOCIATE-RQ"),
]


def test_who_is_turned_away_is_told_and_written_down(node: Node) -> None:
    for pdu, kind, why in TURNED_AWAY:
        assert answer(node, pdu)[0] == kind, why
    for _, _, why in TURNED_AWAY:
        assert refused(node, why)["address"] == "127.0.0.1"


def test_tls_to_the_port_without_is_written_down_as_that(node: Node) -> None:
    how = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    how.check_hostname, how.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", node.settings.scp.port), 10) as connection, suppress(OSError):
        how.wrap_socket(connection)
    refused(node, "it speaks TLS on the port without")


def test_four_hundred_silent_addresses_shut_nobody_out(node: Node) -> None:
    with ExitStack() as silent:
        for number in range(400):
            address = (f"127.0.{1 + number // 200}.{1 + number % 200}", 0)
            silent.enter_context(socket.create_connection(("127.0.0.1", node.settings.scp.port), 10, address))
        assert median(echo(node) for _ in range(10)) < 1.0


def test_the_largest_legal_requests_of_four_addresses_hold_up_nobody(node: Node) -> None:
    syntaxes = [b"1.2.840.10008.1.2.4.%d" % number for number in range(64)]
    contexts = b"".join(context_item(2 * number + 1, b"1.2.3.%d" % number, *syntaxes) for number in range(128))
    large, stop = request(contexts=contexts), threading.Event()

    def attack(address: str) -> None:
        while not stop.is_set():
            answer(node, large, address)

    threads = [threading.Thread(target=attack, args=(f"127.0.9.{number}",)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    took = [echo(node) for _ in range(20)]
    stop.set()
    for thread in threads:
        thread.join()
    assert median(took) < 1.0


def test_twenty_senders_behind_one_address_keep_their_associations(node: Node, tmp_path: Path) -> None:
    """Each sends one image a second; those for whom there is no seat are told so at once, and come again."""
    share, rounds = node.settings.scp.max_per_address, 2
    ae = AE(ae_title="GATEWAY")
    ae.add_requested_context(DX.decode(), "1.2.840.10008.1.2.1")
    port = node.settings.scp.port
    senders = [ae.associate("127.0.0.1", port, ae_title="SRNODE", bind_address=("127.0.8.1", 0)) for _ in range(20)]
    assert sum(sender.is_established for sender in senders) == share
    assert all(sender.is_rejected for sender in senders if not sender.is_established)
    seated = [sender for sender in senders if sender.is_established]
    for number in range(rounds):
        for at, sender in enumerate(seated):
            assert sender.send_c_store(image(16, number=number * 100 + at + 1)).Status == 0x0000
        time.sleep(0.7)
    for sender in seated:
        sender.release()


def test_a_seat_that_is_taken_from_somebody_is_written_down(tmp_path: Path) -> None:
    node = Node.configure(tmp_path)
    node.change("[scp]\n", "[scp]\nmax_associations = 2\nidle_timeout_s = 20\n")
    node.start("receive")
    try:
        ae = AE(ae_title="BUSY")
        ae.add_requested_context("1.2.840.10008.1.1")
        port = node.settings.scp.port
        held = [ae.associate("127.0.0.1", port, ae_title="SRNODE", bind_address=("127.0.8.2", 0)) for _ in range(2)]
        assert all(assoc.is_established for assoc in held)
        assert echo(node) < 1.0  # of an address that has none
        wait_until(lambda: "association ended for another" in node.log.read_text(), 5, "the line in the log")
        for assoc in held:
            assoc.abort()
    finally:
        node.stop()


class Bystander:
    """Takes connections, in the clear or over TLS, and answers nothing."""

    def __init__(self, how: ssl.SSLContext | None = None) -> None:
        self._listener, self._how = socket.create_server(("127.0.0.1", 0)), how
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._take)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _take(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(2)
                try:
                    if self._how:
                        connection = self._how.wrap_socket(connection, server_side=True)
                    if connection.recv(1) and not self._how:
                        connection.sendall(bytes.fromhex("07000000000400000000"))  # A-ABORT, as who speaks no TLS
                except OSError:
                    continue


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def server_context(ca: Authority, name: str, **how: int | str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*ca.sign(name, **how))  # type: ignore[arg-type]
    made.load_verify_locations(ca.path("crt"))
    made.verify_mode = ssl.CERT_REQUIRED
    return made


def why_not(ca: Authority, port: int, *, tls: bool) -> str:
    """What the node says of a peer with which there is no association."""
    certificate, key = ca.sign("node")
    files = TlsSettings(certificate=certificate, private_key=key, authorities=ca.path("crt"))
    entity = LocalEntity("SRNODE", DeliverySettings(response_timeout_s=2, connect_timeout_s=2), files)
    with pytest.raises(PeerUnreachable) as caught:
        associations.echo(entity, Peer(ae_title="PACS", host="127.0.0.1", port=port, tls=tls))
    return caught.value.message


@pytest.mark.parametrize(
    ("make", "tls", "why"),
    [
        (lambda ca, other: None, True, "it does not speak TLS"),
        (lambda ca, other: server_context(ca, "good"), False, "it speaks TLS on this port"),
        (lambda ca, other: server_context(ca, "late", days=-1), True, "its certificate has expired"),
        (lambda ca, other: server_context(other, "foreign"), True, "the authority that signed its certificate"),
        (lambda ca, other: server_context(ca, "named", san="IP:127.0.0.9"), True, "of another address than the host"),
        (lambda ca, other: demanding(ca, other), True, "it does not know the authority that signed our certificate"),
    ],
    ids=["TLS to plain", "plain to TLS", "expired", "unknown authority", "wrong name", "ours unknown"],
)
def test_each_failure_of_tls_has_its_real_cause(
    ca: Authority, tmp_path: Path, make: Callable[[Authority, Authority], ssl.SSLContext | None], tls: bool, why: str
) -> None:
    with started(Bystander(make(ca, Authority(tmp_path / "other", "other")))) as bystander:
        said = why_not(ca, bystander.port, tls=tls)
    assert why in said
    assert "is it running" not in said


def demanding(ca: Authority, other: Authority) -> ssl.SSLContext:
    """Its certificate is good, and it knows another authority than the one that signed ours."""
    made = server_context(ca, "good")
    foreign = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    foreign.load_cert_chain(ca.folder / "good.crt", ca.folder / "good.key")
    foreign.load_verify_locations(other.path("crt"))
    foreign.verify_mode = made.verify_mode
    return foreign


def test_nobody_listens_is_said_as_that(ca: Authority) -> None:
    assert "Connection refused; is it running" in why_not(ca, free_port(), tls=True)


def test_callers_that_fail_at_tls_stand_under_refused_with_the_cause(tmp_path: Path, ca: Authority) -> None:
    fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(ca.sign("A")[0].read_text())).hexdigest()
    peer = f'[peers.A]\nae_title = "A"\nhost = "127.0.0.1"\ntls = true\ncertificate_sha256 = "{fingerprint}"\n'
    node = Node.configure(tmp_path, more=section(ca, free_port()) + peer)
    node.start("receive")
    try:
        other = Authority(tmp_path / "other", "other")
        expired, foreign, causes = context(ca, None), context(ca, None), list[str]()
        expired.load_cert_chain(*ca.sign("expired", days=-1))
        foreign.load_cert_chain(*other.sign("foreign"))
        for how, why in (
            (context(ca, None), "it shows no certificate"),
            (expired, "its certificate has expired"),
            (foreign, "the authority that signed its certificate is not in tls.authorities"),
        ):
            ae = AE(ae_title="A")
            ae.add_requested_context("1.2.840.10008.1.1")
            assert not ae.associate("127.0.0.1", node.settings.tls.port, tls_args=(how, "127.0.0.1")).is_established
            causes.append(why)
        with socket.create_connection(("127.0.0.1", node.settings.tls.port), 10) as connection:
            connection.sendall(request())
            connection.recv(100)
        for why in (*causes, "it does not speak TLS on a port for TLS"):
            refused(node, why)
    finally:
        node.stop()


def test_what_was_said_of_a_dead_peer_is_in_the_reason_of_its_rest(tmp_path: Path, ca: Authority) -> None:
    with started(Bystander(server_context(ca, "good"))) as bystander:
        node = Node.configure(tmp_path, peers={"ARCHIVE": bystander.port})
        node.change("retry_first_s = 0.5", "retry_first_s = 0.5\nresponse_timeout_s = 1")
        outbox = Outbox.of(node.settings)
        outbox.put(1, "ARCHIVE")
        outbox.worker("ARCHIVE").step(threading.Event())
        assert "set tls = true" in outbox.store.destinations.ls()["ARCHIVE"]["reason"]
        outbox.close()
