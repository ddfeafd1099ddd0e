"""How long the dashboard's pages take with 50,000 images in the database, while images are being worked on."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import httpx
import pytest
from kit import Node, free_port, image, save, wait_until
from sqlalchemy import insert

from dicom_sr_node import app
from dicom_sr_node.store import tables
from dicom_sr_node.store.accounts import Kind, Role
from dicom_sr_node.store.engine import upgrade
from dicom_sr_node.store.leases import NEW
from dicom_sr_node.web.access import COOKIE

IMAGES, ROUNDS = 50_000, 10
PAGES = (
    "/",
    "/now/live",
    "/images",
    "/images?text=nobody",
    "/images?text=12345",
    "/images?fate=dead",
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


def fill(store: app.Store) -> None:
    now = time.time()
    images = [
        {"id": n, "sop_class_uid": "1.2", "sop_instance_uid": f"1.2.{n}", "study_uid": "1", "series_uid": f"1.{n}"}
        | {
            "modality": "DX" if n % 3 else "CR",
            "transfer_syntax_uid": "1",
            "calling_ae": f"MOD{n % 7}",
            "file": f"{n:032}",
        }
        | {"sha256": f"{n}", "bytes": 1, "received_at": now - n, "patient_id": f"{n}", "patient_name": f"DOE^{n}"}
        | {"accession": f"A{n}", "purged_at": now}
        for n in range(1, IMAGES + 1)
    ]
    ended = {**NEW, "run_at": now, "updated_at": now}
    states = ["done"] * 17 + ["skipped", "skipped", "dead"]
    jobs = [
        {"id": n, "instance_id": n, **ended, "state": states[n % 20], "quality": "{}"} for n in range(1, IMAGES + 1)
    ]
    done = [n for n in range(1, IMAGES + 1) if states[n % 20] == "done"]
    outputs = [
        {"id": n, "job_id": n, "kind": "image", "sop_class_uid": "1", "sop_instance_uid": f"2.{n}", "series_uid": "2"}
        | {"file": f"o{n:031}", "sha256": "s", "bytes": 1, "model": "m", "scale": 4, "created_at": now}
        for n in done
    ]
    ways = [
        {"output_id": n, "destination": "ARCHIVE", **ended, "state": "dead" if n % 500 == 0 else "done"} for n in done
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


@pytest.mark.timeout(0)
def test_pages(tmp_path: Path, database_url: str) -> None:
    node = Node.configure(tmp_path, database_url=database_url)
    node.change("enabled = false", f"port = {free_port()}")
    store = app.store(node.settings)
    upgrade(store.engine)
    fill(store)
    store.accounts.add("bench", Role.ADMINISTRATOR, "no hash")
    session = store.accounts.let_in("bench", Role.ADMINISTRATOR, Kind.SESSION, hours=1)
    token = store.accounts.let_in("bench", Role.ADMINISTRATOR, Kind.TOKEN)
    store.engine.dispose()
    node.start()
    wait_until(lambda: " ready" in node.log.read_text(), 60, "the dashboard's start")
    stop = threading.Event()

    def send() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            node.storescu(save(image(256, number=number), tmp_path / "a.dcm"), check=False)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(
            base_url=node.settings.web.url, cookies={COOKIE: session}, headers=headers, timeout=60
        ) as client:
            print(f"\n\n{IMAGES} images, {store.engine.dialect.name}, while images are received and upscaled")
            for page in PAGES:
                took = []
                for _ in range(ROUNDS):
                    began = time.monotonic()
                    assert client.get(page).status_code == 200, page
                    took.append(time.monotonic() - began)
                took.sort()
                print(f"{page:60} median {took[ROUNDS // 2] * 1000:6.0f} ms   worst {took[-1] * 1000:6.0f} ms")
    finally:
        stop.set()
        sender.join()
        node.stop()
