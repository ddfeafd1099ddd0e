"""STOW-RS: to a real Orthanc, and what becomes of the answers of others."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from support.certificates import Authority
from support.certificates import section as secure
from support.command import srnode
from support.images import image, save
from support.node import Node, Outbox
from support.orthanc import Orthanc
from support.tools import free_port, started, wait_until

from dicom_sr_node.deliver.destinations.table import destination
from dicom_sr_node.domain.diagnosis import Verdict
from dicom_sr_node.domain.records import JobState

NEVER = threading.Event()
PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[Orthanc]:
    if not Path(PLUGIN).is_file():
        pytest.skip("Orthanc has no DICOMweb: apt-get install orthanc-dicomweb")
    more = {"Plugins": [PLUGIN], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}}
    with started(Orthanc(tmp_path / "orthanc", **more)) as orthanc:
        yield orthanc


def section(port: int, path: str = "/dicom-web", more: str = "") -> str:
    rule = '[[rules]]\nname = "all"\nsend_to = ["CLOUD"]\n'
    return f'[dicomweb.CLOUD]\nurl = "http://127.0.0.1:{port}{path}"\n{more}{rule}'


def test_a_result_reaches_orthanc_by_stow_and_holds_its_promises(orthanc: Orthanc, tmp_path: Path) -> None:
    more = 'compression = "jpeg-ls"\n'  # plain is what all others of these tests send
    node = Node.configure(tmp_path, more=section(orthanc.http, more=more) + '[audit]\nto = "file"')
    source = save(image(64), tmp_path / "a.dcm")
    with started(node):
        node.storescu(source)
        node.wait(jobs=1)
        node.fsck()
        trail = node.settings.node.data_dir / "audit.log"
        wait_until(
            lambda: f"http://127.0.0.1:{orthanc.http}/dicom-web" in trail.read_text(), 20, "the line of the audit"
        )
    assert [way[JobState.DONE] for way in node.store.deliveries.counts().values()] == [1]
    held = orthanc.instances()
    assert len(held) == 1
    got = orthanc.file(held[0]["ID"], tmp_path / "got.dcm")
    assert json.loads(srnode("verify", "--json", got, source).stdout)["passed"] is True
    checks = json.loads(srnode("doctor", "--json", "-c", node.config, check=False).stdout)
    assert [check["verdict"] for check in checks if check["name"] == "CLOUD dicomweb"] == ["PASS"]


class Service:
    """An archive that answers each POST with a status and a document, and remembers what it was shown."""

    def __init__(
        self, status: int, answer: dict[str, object] | str, tls: ssl.SSLContext | None = None, location: str = ""
    ) -> None:
        """location: where it points to. has: the SOP Instance UID that it finds when it is searched."""
        shown: list[str | None] = []
        self.shown, self.status, self.has = shown, status, ""
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                shown.append(self.headers.get("Authorization"))
                if self.headers.get("Transfer-Encoding") == "chunked":
                    while (length := int(self.rfile.readline(), 16)) or self.rfile.readline() != b"\r\n":
                        self.rfile.read(length + 2)
                else:
                    self.rfile.read(int(self.headers["Content-Length"]))
                body = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
                self.send_response(service.status)
                if location:
                    self.send_header("Location", location)
                self.send_header("Content-Type", "application/dicom+json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                body = json.dumps([{"00080018": {"vr": "UI", "Value": [service.has]}}]).encode()
                self.send_response(200 if service.has else 204)
                self.send_header("Content-Length", str(len(body) if service.has else 0))
                self.end_headers()
                if service.has:
                    self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                """Quiet."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def failed(reason: int) -> dict[str, object]:
    item = {"00081197": {"vr": "US", "Value": [reason]}}
    return {"00081198": {"vr": "SQ", "Value": [item]}}


XML_DUPLICATE = """<?xml version="1.0"?><NativeDicomModel><DicomAttribute tag="00081198" vr="SQ"><Item number="1">
<DicomAttribute tag="00081197" vr="US"><Value number="1">273</Value></DicomAttribute></Item></DicomAttribute>
</NativeDicomModel>"""


@pytest.mark.parametrize(
    ("status", "answer", "state", "told"),
    [
        (202, failed(0xA900), "dead", "0xA900"),
        (409, failed(0xA900), "dead", "0xA900"),
        (409, failed(0x0111), "done", "0x0111"),
        (409, failed(45070), "done", "duplicate"),
        (409, failed(0xA700), "ready", "0xA700"),
        (409, failed(0x0110), "ready", "0x0110"),
        (409, failed(0xB00F), "ready", "has not stored"),
        (409, {}, "ready", "answered 409, and not why"),
        (409, XML_DUPLICATE, "done", "0x0111"),
        (202, failed(0xC000), "ready", "0xC000"),
        (413, {}, "dead", "client_max_body_size"),
        (202, failed(0x0111), "done", "0x0111"),
        (200, {}, "ready", "does not say that it has stored"),
        (200, "<html>", "ready", "makes no sense"),
        (200, failed(0xA700), "ready", "0xA700"),
        (401, {}, "ready", "check token_file"),
        (404, {}, "ready", "is this the address"),
        (415, {}, "dead", "answered 415"),
        (503, {}, "ready", "answered 503"),
    ],
)
def test_only_an_answer_that_says_stored_makes_a_delivery_done(
    tmp_path: Path, status: int, answer: dict[str, object] | str, state: str, told: str
) -> None:
    (tmp_path / "token").write_text("abc\n")
    with started(Service(status, answer)) as service:
        more = f'token_file = "{tmp_path / "token"}"\n'
        outbox = Outbox.of(Node.configure(tmp_path, more=section(service.port, more=more)).settings)
        outbox.put(1, "CLOUD")
        outbox.worker("CLOUD").step(NEVER)
        assert outbox.states("CLOUD") == {state: 1}
        assert told in outbox.store.deliveries.of_output(1)[0].reason
        assert set(service.shown) == {"Bearer abc"}
        outbox.close()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_nobody_but_the_archive_that_is_configured_gets_an_image(tmp_path: Path, status: int) -> None:
    with started(Service(200, {})) as elsewhere:
        there = f"http://me:secret@127.0.0.1:{elsewhere.port}/else?key=secret"
        with started(Service(status, {}, location=there)) as service:
            outbox = Outbox.of(Node.configure(tmp_path, more=section(service.port)).settings)
            outbox.put(1, "CLOUD")
            outbox.worker("CLOUD").step(NEVER)
            (way,) = outbox.store.deliveries.of_output(1)
            assert f"answered {status}: it points to http://127.0.0.1:{elsewhere.port}/else;" in way.reason
            assert "secret" not in way.reason
            assert way.state == JobState.READY
            outbox.close()
        assert elsewhere.shown == []


def test_a_lost_answer_is_looked_for(tmp_path: Path) -> None:
    """The archive stored it, but a proxy answered 504; after that the archive says 409, and not why."""
    with started(Service(504, "")) as service:
        outbox = Outbox.of(Node.configure(tmp_path, more=section(service.port)).settings)
        result = outbox.put(1, "CLOUD")
        lane = outbox.worker("CLOUD")
        lane.step(NEVER)
        assert outbox.states("CLOUD") == {"ready": 1}
        service.status, service.has = 409, str(result.SOPInstanceUID)
        outbox.due()
        lane.step(NEVER)
        assert outbox.states("CLOUD") == {"done": 1}
        outbox.close()


@pytest.mark.parametrize(
    ("mutual", "trusted", "state"), [(True, True, "done"), (False, True, "ready"), (True, False, "ready")]
)
def test_our_certificate_is_shown_and_only_an_archive_that_our_authority_signed_gets_anything(
    tmp_path: Path, mutual: bool, trusted: bool, state: str
) -> None:
    """An archive over https that takes nothing from callers without a certificate of its authority."""
    ca = Authority(tmp_path / "ca")
    demanding = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    demanding.load_cert_chain(*ca.sign("archive"))
    demanding.load_verify_locations(ca.path("crt"))
    demanding.verify_mode = ssl.CERT_REQUIRED
    with started(Service(202, failed(0x0111), demanding)) as service:
        more = secure(ca if trusted else Authority(tmp_path / "other"), free_port())
        more += f'[dicomweb.CLOUD]\nurl = "https://127.0.0.1:{service.port}/"\nmutual_tls = {str(mutual).lower()}\n'
        outbox = Outbox.of(Node.configure(tmp_path, more=more).settings)
        outbox.put(1, "CLOUD")
        outbox.worker("CLOUD").step(NEVER)
        assert outbox.states("CLOUD") == {state: 1}
        assert len(service.shown) == (1 if state == "done" else 0)
        checks = list(destination(outbox.settings, "CLOUD").check(outbox.store.commitments))
        assert [check.verdict for check in checks] == [Verdict.PASS if state == "done" else Verdict.FAIL]
        outbox.close()


def test_an_archive_that_is_away_gets_it_later(tmp_path: Path) -> None:
    outbox = Outbox.of(Node.configure(tmp_path, more=section(free_port())).settings)
    outbox.put(1, "CLOUD")
    outbox.worker("CLOUD").step(NEVER)
    assert outbox.states("CLOUD") == {"ready": 1}
    assert outbox.store.destinations.ls()["CLOUD"]["failures"] == 1
    outbox.close()
