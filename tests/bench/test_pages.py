"""What the dashboard costs with 50,000 images in the database: how long its pages take, and what others lose by it."""

from __future__ import annotations

import os
import shutil
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import count, cycle
from pathlib import Path

import httpx
import pytest
from pydicom import Dataset
from pydicom.uid import generate_uid
from sqlalchemy import insert
from support.images import image, save
from support.node import Node, store_of
from support.tools import free_port, wait_until

from dicom_sr_node.store import tables
from dicom_sr_node.store.accounts import AccountRole, PassKind
from dicom_sr_node.store.database import Store
from dicom_sr_node.store.engine import upgrade
from dicom_sr_node.store.leases import NEW
from dicom_sr_node.web.auth.access import COOKIE

IMAGES, ROUNDS = 50_000, 10
PAIRS, SENT, LIVE_S = 16, 200, 2.0  # rounds, images of a round; a browser asks again after so long
PAGES = (
    "/",
    "/now/live",
    "/images",
    "/images?text=nobody",
    "/images?text=12345",
    "/images?fate=dead",
    "/images?fate=on+its+way",
    "/images?fate=delivered",
    "/images?fate=delivered&peer=ARCHIVE",
    "/images?since=2020-01-01&until=2030-01-01&modality=CR",
    "/images/25000",
    "/rules",
    "/peers",
    "/models",
    "/metrics",
    "/health/ready",
    "/api/v1/images?name=doe&limit=500",
)


def fill(store: Store) -> None:
    """Rows of images that were worked on and delivered; the numbers of the rows are the databases' own, from 1 on."""
    now = time.time()
    images = [
        {"sop_class_uid": "1.2", "sop_instance_uid": f"1.2.{n}", "study_uid": "1", "series_uid": f"1.{n}"}
        | {
            "modality": "DX" if n % 3 else "CR",
            "transfer_syntax_uid": "1",
            "calling_ae": f"MOD{n % 7}",
            "file": f"{n:032}",
        }
        | {"sha256": f"{n}", "bytes": 1, "received_at": now - 60 * n, "patient_id": f"{n}", "patient_name": f"DOE^{n}"}
        | {"accession": f"A{n}", "purged_at": now - 60 * n}
        for n in range(1, IMAGES + 1)
    ]
    ended = {**NEW, "run_at": now, "updated_at": now}
    states = ["done"] * 17 + ["skipped", "skipped", "dead"]
    jobs = [{"instance_id": n, **ended, "state": states[n % 20], "quality": "{}"} for n in range(1, IMAGES + 1)]
    done = [n for n in range(1, IMAGES + 1) if states[n % 20] == "done"]
    outputs = [
        {"job_id": n, "kind": "image", "sop_class_uid": "1", "sop_instance_uid": f"2.{n}", "series_uid": "2"}
        | {"file": f"o{n:031}", "sha256": "s", "bytes": 1, "model": "m", "scale": 4, "created_at": now}
        for n in done
    ]
    ways = [
        {"output_id": n, "destination": "ARCHIVE", **ended, "state": "dead" if n % 500 == 0 else "done"}
        for n in range(1, len(done) + 1)
    ]
    events = [{"instance_id": n, "at": now, "what": "received", "text": ""} for n in range(1, IMAGES + 1)]
    with store.engine.begin() as connection:
        for table, rows in (
            (tables.instance, images),
            (tables.job, jobs),
            (tables.output, outputs),
            (tables.delivery, ways),
            (tables.event, events),
        ):
            connection.execute(insert(table), rows)


@pytest.fixture
def filled(tmp_path: Path, database_url: str) -> Iterator[tuple[Node, httpx.Client]]:
    """A node that does not run yet, with 50,000 images, and somebody who is logged in."""
    node = Node.configure(tmp_path, database_url=database_url)
    node.change("enabled = false", f"port = {free_port()}")
    store = store_of(node.settings)
    upgrade(store.engine)
    fill(store)
    store.accounts.add("bench", AccountRole.ADMINISTRATOR, "no hash")
    session = store.accounts.let_in("bench", AccountRole.ADMINISTRATOR, PassKind.SESSION, hours=1)
    token = store.accounts.let_in("bench", AccountRole.ADMINISTRATOR, PassKind.TOKEN)
    store.engine.dispose()
    headers = {"Authorization": f"Bearer {token}"}
    url = node.settings.web.url
    with httpx.Client(base_url=url, cookies={COOKIE: session}, headers=headers, timeout=60) as client:
        yield node, client
    shutil.rmtree(node.settings.node.data_dir)  # gigabytes that pytest would keep for three runs


@contextmanager
def beside(work: Callable[[], object]) -> Iterator[None]:
    """Again and again, as long as the block lasts."""
    stop = threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            work()

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(go_on)
        try:
            yield
        finally:
            stop.set()
        done.result()


@pytest.mark.timeout(0)
def test_pages(filled: tuple[Node, httpx.Client], tmp_path: Path) -> None:
    node, client = filled
    numbers = count(1)

    def send() -> None:
        node.storescu(save(image(256, number=next(numbers)), tmp_path / "a.dcm"), check=False)

    node.start()
    try:
        wait_until(lambda: reached(client), 60, "the dashboard's start")
        print(f"\n\n{IMAGES} images, {node.store.engine.dialect.name}, while images are received and upscaled")
        with beside(send):
            for page in PAGES:
                took = []
                for _ in range(ROUNDS):
                    began = time.monotonic()
                    assert client.get(page).status_code == 200, page
                    took.append(time.monotonic() - began)
                took.sort()
                print(f"{page:60} median {took[ROUNDS // 2] * 1000:6.0f} ms   worst {took[-1] * 1000:6.0f} ms")
    finally:
        node.stop()


@pytest.mark.timeout(0)
def test_receiving_while_people_look(filled: tuple[Node, httpx.Client], tmp_path: Path) -> None:
    """The same images are sent with and without three browsers on Now and somebody who turns pages, by turns."""
    node, client = filled
    web = replace(node, log=tmp_path / "web.log")
    ds = image(1024)

    def another() -> Dataset:
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        return ds

    def send() -> float:
        paths = [save(another(), tmp_path / f"{n}.dcm") for n in range(SENT)]
        began = time.monotonic()
        node.storescu(*paths)
        return time.monotonic() - began

    pages = cycle(page for page in PAGES if page != "/health/ready")  # no worker runs here

    def look() -> None:
        for page in ("/now/live", "/now/live", "/now/live", next(pages)):
            assert client.get(page).status_code == 200, page
        time.sleep(LIVE_S)

    node.start("receive")
    web.start("web")
    try:
        wait_until(lambda: reached(client), 60, "the dashboard's start")
        send()
        alone, watched, busy = list[float](), list[float](), list[float]()
        for _ in range(PAIRS):
            alone.append(send())
            before = cpu_s(web)
            with beside(look):
                watched.append(send())
            busy.append((cpu_s(web) - before) / watched[-1])
        slower = [b / a - 1 for a, b in zip(alone, watched, strict=True)]
        print(f"\n\n{SENT} images of 2 MB with {IMAGES} in {node.store.engine.dialect.name}: alone {told(alone)};")
        print(
            f"while people look {told(watched)}; median of the pairs {statistics.median(slower):+.1%}, "
            f"all together {sum(watched) / sum(alone) - 1:+.1%};"
        )
        print(f"the dashboard took {statistics.median(busy):.0%} of one core")
    finally:
        web.stop()
        node.stop()


def cpu_s(node: Node) -> float:
    """That a node's process has used."""
    assert node.process is not None
    fields = Path(f"/proc/{node.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def reached(client: httpx.Client) -> bool:
    try:
        return client.get("/health/live").is_success
    except httpx.ConnectError:
        return False


def told(taken: list[float]) -> str:
    return f"median {statistics.median(taken):.2f} s ({min(taken):.2f} to {max(taken):.2f})"
