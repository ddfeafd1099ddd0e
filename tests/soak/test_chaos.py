"""kill -9 of everything at random under load, on both databases: 0 lost, 0 doubled (T9)."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt
from support.archive import Archive
from support.images import image
from support.node import Node
from support.orthanc import Orthanc
from support.soak import Row
from support.tools import free_port, run, started, wait_until

PAUSE_S = (0.5, 5.0)  # between two kills
SENDERS = 2


class Faulty(Archive):
    """An archive that is now and then full or slow, aborts, or answers about another image than it was sent."""

    def __init__(self) -> None:
        super().__init__()
        self._luck = random.Random(1)
        self.calm = False

    def _store(self, event: evt.Event) -> int | Dataset:
        luck = 1.0 if self.calm else self._luck.random()
        if luck < 0.08:
            return 0xA700
        if luck < 0.1:
            event.assoc.abort()
            return 0xA700
        if luck < 0.15:
            time.sleep(0.5)
        if 0.2 < luck < 0.25:
            answer = Dataset()
            answer.Status, answer.AffectedSOPInstanceUID = 0x0000, "1.2.3"
            return answer
        return super()._store(event)


class Away(Archive):
    """An archive that must commit to what it was sent, and is away half of the time."""

    def __init__(self) -> None:
        super().__init__(commits="same")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._come_and_go)

    def start(self) -> Archive:
        super().start()
        self._thread.start()
        return self

    def stop(self) -> None:
        self.stay()
        super().stop()

    def stay(self) -> None:
        """From now on it is there."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _come_and_go(self) -> None:
        while not self._over.wait(20):
            super().stop()
            self._over.wait(20)
            super().start()


class Cloud:
    """A STOW-RS archive: some answers are lost after it has stored, then it says 409; some 409s give no reason."""

    def __init__(self) -> None:
        self.received: dict[str, Dataset] = {}
        self.calm = False
        luck, cloud = random.Random(2), self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                ds = _first_part(self._body(), self.headers["Content-Type"])
                uid, chance = str(ds.SOPInstanceUID), 1.0 if cloud.calm else luck.random()
                if chance < 0.1:
                    self._answer(409, _failed(uid, 0xA700))
                elif uid in cloud.received:
                    assert cloud.received[uid] == ds
                    self._answer(409, _failed(uid, 45070) if luck.random() < 0.5 else {})
                else:
                    cloud.received[uid] = ds
                    self._answer(*((504, {}) if chance < 0.3 else (200, _stored(uid))))

            def do_GET(self) -> None:
                uid = parse_qs(urlsplit(self.path).query).get("SOPInstanceUID", [""])[0]
                found = [{"00080018": {"vr": "UI", "Value": [uid]}}] if uid in cloud.received else []
                self._answer(200, found)

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers["Content-Length"]))
                body = b""
                while length := int(self.rfile.readline(), 16):
                    body += self.rfile.read(length)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def _answer(self, status: int, document: object) -> None:
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/dicom+json; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _first_part(body: bytes, content_type: str) -> Dataset:
    boundary = content_type.partition("boundary=")[2].strip('"').encode()
    part = body.split(b"--" + boundary)[1].partition(b"\r\n\r\n")[2]
    return dcmread(BytesIO(part.removesuffix(b"\r\n")))


def _failed(uid: str, reason: int) -> dict[str, object]:
    item = {"00081155": {"vr": "UI", "Value": [uid]}, "00081197": {"vr": "US", "Value": [reason]}}
    return {"00081198": {"vr": "SQ", "Value": [item]}}


def _stored(uid: str) -> dict[str, object]:
    return {"00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": [uid]}}]}}


class Sender(threading.Thread):
    """Sends images; what was not acknowledged is sent again, until it is."""

    def __init__(self, node: Node, number: int, until: float) -> None:
        super().__init__()
        self.node, self.number, self.until = node, number, until
        self.acknowledged: list[str] = []
        self.repeats = 0

    def run(self) -> None:
        count = 0
        while time.monotonic() < self.until:
            count += 1
            ds = image(random.choice((24, 32, 48)), number=self.number * 100_000 + count)
            while not self._send(ds):
                self.repeats += 1
                time.sleep(0.3)
            self.acknowledged.append(str(ds.SOPInstanceUID))
            time.sleep(random.uniform(0.0, 0.6))

    def _send(self, ds: Dataset) -> bool:
        ae = AE(ae_title=f"SENDER_{self.number}")
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 40
        ae.add_requested_context(ds.SOPClassUID, ExplicitVRLittleEndian)
        assoc = ae.associate("127.0.0.1", self.node.settings.scp.port, ae_title="SRNODE")
        if not assoc.is_established:
            return False
        try:
            answer = assoc.send_c_store(ds)
            return "Status" in answer and answer.Status == 0x0000
        except (RuntimeError, OSError):
            return False
        finally:
            with contextlib.suppress(RuntimeError, OSError):
                assoc.release()


def family(node: Node) -> list[int]:
    """Every process of the node but its supervisor."""
    found: list[int] = []
    level = [node.process.pid] if node.process else []
    while level:
        level = [int(pid) for parent in level for pid in run("pgrep", "-P", str(parent), check=False).stdout.split()]
        found += level
    return found


def kill_at_random(node: Node, until: float) -> int:
    """One process every few seconds, the supervisor too; it is started again."""
    kills = 0
    while time.monotonic() < until:
        time.sleep(random.uniform(*PAUSE_S))
        victims = family(node)
        assert node.process is not None
        if random.random() < 0.05:
            os.kill(node.process.pid, signal.SIGKILL)
            node.process.wait()
            if random.random() < 0.5:  # with all that it had started
                for pid in victims:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            node.store.engine.dispose()
            start_again(node)
        elif victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(random.choice(victims), signal.SIGKILL)
        kills += 1
    return kills


def start_again(node: Node) -> None:
    for _ in range(20):
        try:
            node.start()
        except AssertionError:  # the roles of the one before have not let go yet
            time.sleep(1)
            continue
        return
    pytest.fail("the node does not start any more")


@pytest.mark.timeout(0)
@pytest.mark.filterwarnings("ignore")  # of connections that the node's death refuses or breaks
def test_chaos(tmp_path: Path, database_url: str, minutes: float, row: Row) -> None:
    port = free_port()
    knows_us = {"NODE": ["SRNODE", "127.0.0.1", port]}
    with (
        started(Orthanc(tmp_path / "orthanc", DicomModalities=knows_us)) as orthanc,
        started(Faulty()) as faulty,
        started(Away()) as away,
        started(Cloud()) as cloud,
    ):
        peers = {"ORTHANC": orthanc.port, "FAULTY": faulty.port, "AWAY": away.port}
        more = f'[dicomweb.CLOUD]\nurl = "http://127.0.0.1:{cloud.port}/dicom-web"\n'
        node = Node.configure(tmp_path, peers=peers, database_url=database_url, port=port, more=more)
        for name in ("ORTHANC", "AWAY"):
            node.change(f'ae_title = "{name}"', f'ae_title = "{name}"\ncommitment = "required"')
        callers = json.dumps([f"SENDER_{number}" for number in range(SENDERS)])
        node.change('name = "all"\n', f'name = "all"\nmatch = {{ calling_ae = {callers} }}\n')
        node.change('"AWAY"]', '"AWAY", "CLOUD"]')
        node.change("retry_first_s = 0.5", "retry_first_s = 0.5\nresponse_timeout_s = 10\ncommitment_wait_s = 20")
        node.change("lease_s = 5", "lease_s = 10")
        node.start()
        until = time.monotonic() + minutes * 60
        senders = [Sender(node, number, until) for number in range(SENDERS)]
        try:
            for sender in senders:
                sender.start()
            kills = kill_at_random(node, until)
            for sender in senders:
                sender.join()
            faulty.calm = cloud.calm = True
            away.stay()
            acknowledged = [uid for sender in senders for uid in sender.acknowledged]
            wait_until(lambda: node.process and node.listens(), 60, "the node's return")
            calm_at = time.monotonic()
            jobs = node.wait(jobs=len(acknowledged), within_s=600)
            settled_s = time.monotonic() - calm_at
            judge(node, orthanc, [faulty, away], cloud, acknowledged, jobs)
        finally:
            node.stop()
    repeats = sum(sender.repeats for sender in senders)
    fenced = node.log.read_text().count(" fenced ")
    kind = "PostgreSQL" if database_url else "SQLite"
    how_much = f"{minutes:g} min, {kills} kills, {len(acknowledged)} images acknowledged, {repeats} sent again"
    row(
        f"kill -9 at random, {kind}",
        how_much,
        f"0 lost, 0 doubled, 0 dead, fsck clean; {fenced} fenced; calm in {settled_s:.0f} s",
    )


def judge(
    node: Node,
    orthanc: Orthanc,
    scripted: list[Archive],
    cloud: Cloud,
    acknowledged: list[str],
    jobs: list[dict[str, Any]],
) -> None:
    assert len(set(acknowledged)) == len(acknowledged)
    states = {job["sop_instance_uid"]: (job["state"], job["reason"]) for job in jobs}
    assert len(states) == len(jobs)
    assert set(acknowledged) <= set(states), "acknowledged and lost"
    assert {state for state, _ in states.values()} == {"done"}, [s for s in states.values() if s[0] != "done"]
    made = {output.sop_instance_uid: output for job in jobs for output in node.store.outputs.of_job(job["id"])}
    assert len(made) == len(jobs)
    for output in made.values():
        assert {way.state for way in node.store.deliveries.of_output(output.id)} == {"done"}
    held = [instance["MainDicomTags"]["SOPInstanceUID"] for instance in orthanc.instances()]
    assert sorted(held) == sorted(made), "Orthanc does not hold each result once"
    assert set(cloud.received) == set(made)
    for archive in scripted:
        assert set(archive.uids) == set(made)
        first: dict[str, Dataset] = {}
        for ds in archive.received:  # what came twice came as the same bytes
            assert first.setdefault(str(ds.SOPInstanceUID), ds) == ds
    node.fsck()


def test_the_killer_finds_the_whole_family(tmp_path: Path, archive: Archive) -> None:
    """The chaos would prove nothing if it killed nobody."""
    with started(Node.configure(tmp_path, peers={"ARCHIVE": archive.port})) as node:
        wait_until(lambda: len(family(node)) >= 4, 60, "three roles and a computing process")
        names = subprocess.run(
            ["ps", "-ww", "-o", "args=", "-p", ",".join(map(str, family(node)))],
            capture_output=True,
            text=True,
            check=True,
        )
        for role in ("receive", "work", "deliver"):
            assert f" {role} --parent" in names.stdout
