"""Floods and backlogs: the node stays what it was (T36, T38, T61)."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from pynetdicom import AE
from sqlalchemy import insert, select
from support.images import image
from support.node import Node, echo, store_of
from support.soak import Row

from dicom_sr_node.config.node import DatabaseSettings
from dicom_sr_node.config.node import NodeSettings as NodeSettings
from dicom_sr_node.config.settings import Settings
from dicom_sr_node.domain.records import JobState
from dicom_sr_node.store import tables
from dicom_sr_node.store.engine import upgrade
from dicom_sr_node.store.leases import NEW

pytestmark = [pytest.mark.timeout(0), pytest.mark.filterwarnings("ignore")]
ASSOCIATIONS, STREAMS, BACKLOG = 10_000, 100_000, 50_000


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node.configure(tmp_path)
    node.change("[scp]\n", "[scp]\npdu_timeout_s = 5\nidle_timeout_s = 5\n")
    node.start("receive")
    yield node
    node.stop()


def load(node: Node) -> tuple[float, int, int]:
    """MB, threads, descriptors."""
    assert node.process is not None
    proc = Path(f"/proc/{node.process.pid}")
    memory = int((proc / "statm").read_text().split()[1]) * 4096 / 1e6
    return memory, len(list((proc / "task").iterdir())), len(list((proc / "fd").iterdir()))


def settled(node: Node, before: tuple[float, int, int]) -> str:
    time.sleep(12)
    after = load(node)
    assert after[0] - before[0] < 300
    assert after[1] <= before[1] + 4
    assert after[2] <= before[2] + 4
    return f"+{after[0] - before[0]:.0f} MB, {after[1] - before[1]:+d} threads, {after[2] - before[2]:+d} descriptors"


def test_ten_thousand_associations(node: Node, minutes: float, row: Row) -> None:
    echo(node)
    before, began, counts = load(node), time.monotonic(), []

    def many() -> None:
        done = 0
        while done < ASSOCIATIONS // 4 and time.monotonic() - began < minutes * 60:
            with suppress(AssertionError):  # turned away for now, as the caps have it
                echo(node)
                done += 1
        counts.append(done)

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took_s = time.monotonic() - began
    row("short associations with a C-ECHO", f"{sum(counts)} in {took_s:.0f} s from one address", settled(node, before))


def recorded(node: Node) -> list[bytes]:
    """What a sound sender writes: a request, an image, a release."""
    sent: list[bytes] = []
    ae = AE(ae_title="GOOD")
    ds = image(24)
    ae.add_requested_context(ds.SOPClassUID, "1.2.840.10008.1.2.1")
    from pynetdicom import evt

    handlers = [(evt.EVT_DATA_SENT, lambda event: sent.append(bytes(event.data)))]
    assoc = ae.associate("127.0.0.1", node.settings.scp.port, ae_title="SRNODE", evt_handlers=handlers)
    assert assoc.send_c_store(ds).Status == 0x0000
    assoc.release()
    return sent


def mutated(stream: list[bytes], luck: random.Random) -> bytes:
    whole = bytearray(b"".join(stream[: luck.randint(1, len(stream))]))
    for _ in range(luck.choice((1, 1, 2, 5, 20))):
        at = luck.randrange(len(whole))
        kind = luck.random()
        if kind < 0.5:
            whole[at] = luck.randrange(256)
        elif kind < 0.7:
            whole[at : at + 4] = luck.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\0\1"))
        elif kind < 0.85:
            del whole[at : at + luck.randint(1, 50)]
        else:
            whole[at:at] = luck.randbytes(luck.randint(1, 50))
        if not whole:
            return b"\1"
    return bytes(whole)


def test_mutated_streams(node: Node, minutes: float, row: Row) -> None:
    stream, luck = recorded(node), random.Random(5)
    before, began, count, worst = load(node), time.monotonic(), 0, 0.0
    while count < STREAMS and time.monotonic() - began < minutes * 60:
        with suppress(OSError), socket.create_connection(("127.0.0.1", node.settings.scp.port), 5) as connection:
            connection.settimeout(0.05)
            connection.sendall(mutated(stream, luck))
            connection.recv(1000)
        count += 1
        if count % 200 == 0:
            worst = max(worst, echo(node))
    told = node.log.read_text()
    assert "ended by an error" not in told
    assert worst < 1
    what = f"{count} of {STREAMS} in {time.monotonic() - began:.0f} s"
    row("mutated PDU streams", what, f"worst C-ECHO {worst * 1000:.0f} ms; {settled(node, before)}")


def test_a_backlog(tmp_path: Path, database_url: str, row: Row) -> None:
    """50,000 jobs wait: how long a claim takes, and whether the oldest is first."""
    settings = Settings(node=NodeSettings(data_dir=tmp_path), database=DatabaseSettings(url=database_url))
    store = store_of(settings)
    upgrade(store.engine)
    images = [
        {"id": n, "sop_class_uid": "1.2", "sop_instance_uid": f"1.2.{n}", "study_uid": "1", "series_uid": "1"}
        | {"modality": "DX", "transfer_syntax_uid": "1", "calling_ae": "X", "file": f"{n:032}", "sha256": f"{n}"}
        | {"bytes": 1, "received_at": float(n)}
        for n in range(1, BACKLOG + 1)
    ]
    with store.engine.begin() as connection:
        connection.execute(insert(tables.instance), images)
        jobs = [{"instance_id": n, "run_at": float(n), "updated_at": float(n), **NEW} for n in range(1, BACKLOG + 1)]
        connection.execute(insert(tables.job), jobs)
    took = []
    for expected in range(1, 301):
        began = time.monotonic()
        held = store.jobs.claim("w", 600)
        took.append(time.monotonic() - began)
        assert held is not None
        assert held.instance_id == expected
    with store.engine.connect() as connection:
        running = connection.execute(select(tables.job.c.id).where(tables.job.c.state == JobState.RUNNING)).all()
    assert len(running) == 300
    took.sort()
    p50, p99 = took[150] * 1000, took[296] * 1000
    assert p99 < 50
    kind = "PostgreSQL" if database_url else "SQLite"
    row(f"{BACKLOG} jobs of backlog, {kind}", "300 claims", f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, oldest first")
    store.engine.dispose()
