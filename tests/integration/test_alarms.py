"""Alarms by webhook and mail: told once, again after a while, and when it is over; never with a patient."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from sqlalchemy import update
from support.images import image
from support.node import Node, Outbox
from support.tools import free_port

from dicom_sr_node.config.settings import Settings
from dicom_sr_node.domain.records import JobState, Problem
from dicom_sr_node.monitor import alarms, health
from dicom_sr_node.store import tables


@pytest.fixture
def webhook() -> Iterator[HTTPServer]:
    """Remembers what it was told in `told`; answers with `status`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if server.status == 200:  # type: ignore[attr-defined]
                server.told.append(body)  # type: ignore[attr-defined]
            self.send_response(server.status)  # type: ignore[attr-defined]
            self.send_header("Location", f"http://127.0.0.1:{server.server_port}/")
            self.end_headers()

        def do_GET(self) -> None:  # what a redirect that is followed becomes
            server.told.append("followed")  # type: ignore[attr-defined]
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.told, server.status = [], 200  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def look(outbox: Outbox) -> int:
    """One tick of the timer; troubles of roles are left out, for none is running here."""

    def problems() -> list[Problem]:
        found = health.examine(outbox.settings, outbox.store).problems
        return [trouble for trouble in found if trouble.kind != "role"]

    return alarms.watch(outbox.settings, outbox.store.alarms, problems)


def test_a_dead_image_is_told_once_and_its_end_too(tmp_path: Path, database_url: str, webhook: HTTPServer) -> None:
    told = webhook.told  # type: ignore[attr-defined]
    more = f'[alarms]\nwebhook = "http://127.0.0.1:{webhook.server_port}/"\n'
    outbox = Outbox.of(Node.configure(tmp_path, more=more, database_url=database_url).settings)
    outbox.put(1, "GONE")
    assert look(outbox) == 0
    outbox.worker("GONE").step(threading.Event())  # dead: no such peer
    for status in (500, 302):
        webhook.status = status  # type: ignore[attr-defined]
        assert look(outbox) == 0
    assert told == []
    webhook.status = 200  # type: ignore[attr-defined]
    assert [look(outbox), look(outbox)] == [1, 0]
    assert [news["over"] for news in told] == [False]
    assert "1 image is dead" in told[0]["text"]
    with outbox.store.engine.begin() as connection:
        connection.execute(update(tables.alarm).values(told_at=0.0))
    assert look(outbox) == 1
    with outbox.store.engine.begin() as connection:
        connection.execute(update(tables.delivery).values(state=JobState.DONE))
    assert [look(outbox), look(outbox)] == [1, 0]
    assert [news["over"] for news in told] == [False, False, True]
    everything = json.dumps(told)
    for secret in (image(32).PatientID, image(32).PatientName, image(32).AccessionNumber, image(32).SOPInstanceUID):
        assert str(secret) not in everything
    outbox.close()


def test_a_peer_that_is_silent_too_long_is_a_trouble(tmp_path: Path) -> None:
    more = '[peers.MOD]\nae_title = "MOD"\nhost = "127.0.0.1"\nsilent_after_h = 24\n'
    outbox = Outbox.of(Node.configure(tmp_path, more=more).settings)
    outbox.put(1, "MOD")
    told = {trouble.kind for trouble in health.examine(outbox.settings, outbox.store).problems}
    assert "silent" not in told
    with outbox.store.engine.begin() as connection:
        connection.execute(update(tables.instance).values(received_at=tables.instance.c.received_at - 25 * 3600))
    silent = [t for t in health.examine(outbox.settings, outbox.store).problems if t.kind == "silent"]
    assert [trouble.text for trouble in silent] == ["nothing has come from MOD for 25 hours"]
    outbox.close()


def test_mail_goes_to_the_server_that_is_configured() -> None:
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            """As much SMTP as it takes (RFC 5321)."""
            connection, _ = server.accept()
            with connection, connection.makefile("rwb") as stream, suppress(OSError):
                stream.write(b"220 here\r\n")
                stream.flush()
                in_data = False
                for line in stream:
                    said.append(line.decode().rstrip())
                    if in_data and line != b".\r\n":
                        continue
                    in_data = line.upper().startswith(b"DATA")
                    stream.write(
                        b"354 go on\r\n"
                        if in_data
                        else b"221 bye\r\n"
                        if line[:4].lower() == b"quit"
                        else b"250 ok\r\n"
                    )
                    stream.flush()

        thread = threading.Thread(target=serve)
        thread.start()
        wanted = {"mail_to": ["a@x.example", "b@x.example"], "smtp_host": "127.0.0.1"}
        settings = Settings.model_validate({"alarms": {**wanted, "smtp_port": server.getsockname()[1]}})
        trouble = Problem("disk", "spool", "full", "make room")
        alarms.send_alarm(settings, alarms.ProblemChange(trouble, is_over=False))
        thread.join(20)
    assert [line for line in said if line.lower().startswith("rcpt")] == [
        "rcpt TO:<a@x.example>",
        "rcpt TO:<b@x.example>",
    ]
    assert "Subject: SRNODE: full: make room" in said


def test_a_webhook_that_is_away_ends_nothing(tmp_path: Path) -> None:
    more = f'[alarms]\nwebhook = "http://127.0.0.1:{free_port()}/"\n'
    outbox = Outbox.of(Node.configure(tmp_path, more=more).settings)
    outbox.put(1, "GONE")
    outbox.worker("GONE").step(threading.Event())
    assert look(outbox) == 0
    outbox.close()
