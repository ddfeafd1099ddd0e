"""DICOM over TLS, both ways: only the peer whose title is used, with its own certificate (T37, T46, T47)."""

from __future__ import annotations

import hashlib
import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from threading import Event, Thread
from xml.etree import ElementTree as Xml

import pytest
from pynetdicom import AE, Association
from support.certificates import Authority, context, section
from support.command import srnode
from support.images import image, save
from support.node import Node, Outbox
from support.orthanc import Orthanc
from support.tools import free_port, need, run, started, wait_until

from dicom_sr_node.audit.forwarder import AuditForwarder, forward_one
from dicom_sr_node.audit.messages import AuditMessages
from dicom_sr_node.deliver.destinations.table import local_entity

NEVER = Event()


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, ca: Authority) -> Iterator[Node]:
    """A and B speak TLS, told apart by fingerprint; C by its name alone."""
    more = section(ca, free_port())
    for title in "AB":
        fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(ca.sign(title)[0].read_text())).hexdigest()
        more += f'[peers.{title}]\nae_title = "{title}"\nhost = "127.0.0.1"\ntls = true\nallow = ["store"]\n'
        more += f'certificate_sha256 = "{fingerprint}"\n'
    more += '[peers.C]\nae_title = "C"\nhost = "127.0.0.1"\ntls = true\nallow = ["store"]\n'
    more += '[peers.PLAIN]\nae_title = "PLAIN"\nhost = "127.0.0.1"\nallow = ["store"]\n'
    node = Node.configure(tmp_path_factory.mktemp("tls"), more=more)
    node.change("[scp]\n", "[scp]\npdu_timeout_s = 2\n")
    node.start("receive")
    yield node
    node.stop()


def call(node: Node, title: str, how: ssl.SSLContext | None) -> Association:
    """An association over TLS, or in the clear, released at once."""
    ae = AE(ae_title=title)
    ae.acse_timeout = ae.network_timeout = 10
    ae.add_requested_context("1.2.840.10008.1.1")
    port = node.settings.tls.port if how else node.settings.scp.port
    assoc = ae.associate("127.0.0.1", port, ae_title="SRNODE", tls_args=(how, "127.0.0.1") if how else None)
    if assoc.is_established:
        assert assoc.send_c_echo().Status == 0x0000
        assoc.release()
    return assoc


def was_let_in(assoc: Association) -> bool:
    return bool(assoc.is_released)


def test_each_peer_is_let_in_with_its_own_certificate(node: Node, ca: Authority) -> None:
    assert was_let_in(call(node, "A", context(ca, "A")))
    assert was_let_in(call(node, "B", context(ca, "B")))
    ca.sign("C")
    assert was_let_in(call(node, "C", context(ca, "C")))


@pytest.mark.parametrize(
    ("title", "certificate", "why"),
    [
        ("B", "A", "the certificate of somebody else"),
        ("C", "elsewhere", "the certificate of somebody else"),
        ("PLAIN", "A", "is not set up for TLS"),
        ("NOBODY", "A", "unknown AE title"),
    ],
)
def test_a_title_with_the_certificate_of_another_is_rejected(
    node: Node, ca: Authority, title: str, certificate: str, why: str
) -> None:
    if certificate == "elsewhere":
        ca.sign("elsewhere", san="DNS:other.example")
    assoc = call(node, title, context(ca, certificate))
    assert assoc.is_rejected
    assert assoc.acceptor.primitive.diagnostic == 3
    assert why in node.log.read_text()


def test_a_tls_peer_is_not_let_in_in_the_clear(node: Node) -> None:
    assert call(node, "A", None).is_rejected


@pytest.mark.parametrize("what", ["none", "other authority", "expired", "old TLS", "weak cipher"])
def test_the_handshake_fails_and_no_dicom_is_read(node: Node, ca: Authority, tmp_path: Path, what: str) -> None:
    how = context(ca, "A")
    if what == "none":
        how = context(ca, None)
    elif what == "other authority":
        other = Authority(tmp_path / "other")
        how.load_cert_chain(*other.sign("A"))
    elif what == "expired":
        how.load_cert_chain(*ca.sign("expired", days=-1))
    elif what == "old TLS":
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            how.minimum_version = how.maximum_version = ssl.TLSVersion.TLSv1_1
        how.set_ciphers("ALL:@SECLEVEL=0")
    else:
        how.maximum_version = ssl.TLSVersion.TLSv1_2
        how.set_ciphers("ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0")
    assert not was_let_in(call(node, "A", how))


def test_silent_and_foreign_callers_hold_up_nobody(node: Node, ca: Authority) -> None:
    silent = [socket.create_connection(("127.0.0.1", node.settings.tls.port)) for _ in range(60)]
    for number, connection in enumerate(silent):
        connection.sendall((b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n", b"\x01\x00\x00\x00\x00\x44")[number % 4])
    began = time.monotonic()
    assert was_let_in(call(node, "A", context(ca, "A")))
    assert time.monotonic() - began < 1
    for connection in silent:
        connection.settimeout(10)
        try:
            while connection.recv(4096):
                pass
        except ConnectionError:
            pass
        connection.close()


@pytest.fixture
def orthanc(tmp_path: Path, ca: Authority) -> Iterator[Orthanc]:
    certificate, key = ca.sign("orthanc")
    options = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(certificate),
        "DicomTlsPrivateKey": str(key),
        "DicomTlsTrustedCertificates": str(ca.path("crt")),
        "DicomTlsRemoteCertificateRequired": True,
    }
    with started(Orthanc(tmp_path / "orthanc", **options)) as orthanc:
        yield orthanc


def outbox_to(orthanc: Orthanc, tmp_path: Path, ca: Authority, more: str = "tls = true") -> Outbox:
    node = Node.configure(tmp_path, peers={"ORTHANC": orthanc.port}, more=section(ca, free_port()))
    node.change('ae_title = "ORTHANC"', f'ae_title = "ORTHANC"\ncommitment = "off"\n{more}')
    return Outbox.of(node.settings)


def test_results_go_out_over_tls_and_never_in_the_clear(orthanc: Orthanc, tmp_path: Path, ca: Authority) -> None:
    outbox = outbox_to(orthanc, tmp_path, ca)
    outbox.put(1, "ORTHANC")
    outbox.worker("ORTHANC").step(NEVER)
    assert outbox.states("ORTHANC") == {"done": 1}
    assert len(orthanc.instances()) == 1
    srnode("echo", "ORTHANC", "-c", tmp_path / "node.toml")
    outbox.close()


@pytest.mark.parametrize("wrong", ["host", "fingerprint"])
def test_a_peer_with_another_certificate_gets_nothing_and_the_result_waits(
    orthanc: Orthanc, tmp_path: Path, ca: Authority, wrong: str
) -> None:
    more = "tls = true" if wrong == "host" else f'tls = true\ncertificate_sha256 = "{"ab" * 32}"'
    outbox = outbox_to(orthanc, tmp_path, ca, more)
    if wrong == "host":
        peers = {"ORTHANC": outbox.settings.peers["ORTHANC"].model_copy(update={"host": "localhost"})}
        outbox.settings = outbox.settings.model_copy(update={"peers": peers})
    outbox.put(1, "ORTHANC")
    outbox.worker("ORTHANC").step(NEVER)
    assert outbox.states("ORTHANC") == {"ready": 1}
    assert orthanc.instances() == []
    outbox.close()


class Collector:
    """Takes syslog over TLS (RFC 5425), `each` so many messages on a connection, and then hangs up."""

    def __init__(self, certificate: tuple[Path, Path], ca: Authority, each: int = 1000) -> None:
        self._how = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._how.load_cert_chain(*certificate)
        self._how.load_verify_locations(ca.path("crt"))
        self._how.verify_mode = ssl.CERT_REQUIRED
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port, self.each = self._server.getsockname()[1], each
        self.messages: list[str] = []
        self.connections = 0
        self._thread = Thread(target=self._serve)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._server.accept()
            except OSError:
                return
            with plain, suppress(OSError), self._how.wrap_socket(plain, server_side=True) as connection:
                self.connections += 1
                with connection.makefile("rb") as stream:
                    for _ in range(self.each):
                        if not (length := self._length(stream)):
                            break
                        self.messages.append(stream.read(length).decode("utf-8"))

    def _length(self, stream: BufferedReader) -> int:
        digits = b""
        while (digit := stream.read(1)).isdigit():
            digits += digit
        assert digit in (b" ", b"")
        return int(digits or 0)


@pytest.fixture
def collector(ca: Authority) -> Iterator[Collector]:
    with started(Collector(ca.sign("collector"), ca, each=2)) as collector:
        yield collector


def trail_to(collector: Collector, folder: Path, ca: Authority) -> tuple[Outbox, AuditForwarder]:
    """A node's trail, and its outbox with nothing in it."""
    more = section(ca, free_port()) + f'[audit]\nto = "syslog"\nhost = "127.0.0.1"\nport = {collector.port}\n'
    outbox = Outbox.of(Node.configure(folder, more=more).settings)
    return outbox, AuditForwarder(outbox.settings.audit, local_entity(outbox.settings), outbox.settings.node.data_dir)


def test_the_audit_trail_goes_to_syslog_over_tls_whole_and_in_order(
    collector: Collector, tmp_path: Path, ca: Authority
) -> None:
    outbox, trail = trail_to(collector, tmp_path, ca)
    for number in range(5):
        outbox.store.audit.add(AuditMessages("SRNODE", enabled=True).started(f"role {number} Łódź"))
    for told in range(1, 6):
        assert forward_one(outbox.store.audit, trail, "d")
        wait_until(lambda: len(collector.messages) == told, 20, f"message {told}")  # noqa: B023 - called at once
        time.sleep(0.2)  # for the collector to have hung up after every second
    assert not forward_one(outbox.store.audit, trail, "d")
    trail.close()
    outbox.close()
    assert collector.connections == 3
    for number, message in enumerate(collector.messages):
        header, _, xml = message.partition("\ufeff")
        assert re.fullmatch(r"<85>1 \d{4}-\d\d-\d\dT[\d:.]+\+00:00 \S+ SRNODE \d+ DICOM\+RFC3881 - ", header)
        assert f"role {number} Łódź" in xml
        assert Xml.fromstring(xml).tag == "AuditMessage"  # noqa: S314 - our own


def test_a_foreign_collector_learns_nothing_and_the_trail_waits(tmp_path: Path, ca: Authority) -> None:
    with started(Collector(Authority(tmp_path / "foreign").sign("collector"), ca)) as foreign:
        outbox, trail = trail_to(foreign, tmp_path, ca)
        outbox.store.audit.add(AuditMessages("SRNODE", enabled=True).started("work"))
        assert not forward_one(outbox.store.audit, trail, "d")
        outbox.close()
    assert foreign.messages == []
    held = outbox.store.audit.claim("d", 60)
    assert held is not None
    assert held.failures == 1


def test_storescu_sends_over_tls(node: Node, ca: Authority, tmp_path: Path) -> None:
    source = save(image(), tmp_path / "a.dcm")
    own = ("+tls", ca.folder / "A.key", ca.folder / "A.crt", "+cf", ca.path("crt"))
    called = ("-aet", "A", "-aec", "SRNODE", "127.0.0.1", str(node.settings.tls.port))
    run(need("storescu", "dcmtk"), "-R", *own, *called, source)
    assert node.store.jobs.of_image(str(image().SOPInstanceUID)) is not None
