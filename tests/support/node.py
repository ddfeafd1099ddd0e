"""A node in processes of its own."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pynetdicom import AE
from sqlalchemy import update
from support.command import srnode
from support.images import image
from support.tools import ENVIRONMENT, free_port, need, run, wait_until

from dicom_sr_node.app.deliver import destination_worker
from dicom_sr_node.config.loading import load
from dicom_sr_node.config.settings import Settings
from dicom_sr_node.deliver.worker import DestinationWorker
from dicom_sr_node.dicom.header import data_set_sha256, identity_of
from dicom_sr_node.domain.records import JobResult, JobState, Origin, OutputKind, StoredOutput
from dicom_sr_node.role import RoleContext
from dicom_sr_node.spool import Spool
from dicom_sr_node.store import tables
from dicom_sr_node.store.database import Store, open_store
from dicom_sr_node.store.engine import upgrade


def store_of(settings: Settings, *, must_exist: bool = False) -> Store:
    """The database of a configuration."""
    return open_store(settings.node, settings.database, must_exist=must_exist)


@dataclass
class Node:
    """A node in processes of its own."""

    config: Path
    settings: Settings
    log: Path
    process: subprocess.Popen[bytes] | None = None
    store: Store = field(init=False)

    @classmethod
    def configure(
        cls,
        folder: Path,
        *,
        peers: dict[str, int] | None = None,
        more: str = "",
        port: int | None = None,
        database_url: str = "",
    ) -> Node:
        """peers: name (also the AE title) -> port; all of them get every result."""
        config = folder / "node.toml"
        more = f'{more}\n[database]\nurl = "{database_url}"'
        config.write_text(_node_toml(folder, peers or {}, more, port or free_port()), encoding="utf-8")
        return cls(config, load(config, {}), folder / "node.log")

    def change(self, old: str, new: str) -> None:
        """Edit the configuration of a node that does not run; `old` stands in one section only."""
        text = self.config.read_text()
        assert text.count(old) == 1, (old, text)
        self.config.write_text(text.replace(old, new))
        self.settings = load(self.config, {})

    def start(self, *command: str, failpoint: str = "") -> None:
        armed = {"SRNODE_FAILPOINT": failpoint, "SRNODE_FAILPOINTS": "enabled"} if failpoint else {}
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dicom_sr_node", "-c", str(self.config), *(command or ("serve",))],
                stdout=file,
                stderr=file,
                env=ENVIRONMENT | armed,
                start_new_session=True,
            )
        self.store = store_of(self.settings)
        if not command or command == ("receive",):
            wait_until(self.listens, 60, f"the node's start (log: {self.log.read_text()[-2000:]})")

    def listens(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.settings.scp.port)) == 0

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)
            self.store.engine.dispose()
            self.process = None

    def pids(self, role: str) -> list[int]:
        """The processes of a role (not their children), as the supervisor started them."""
        assert self.process is not None
        found = run("pgrep", "-P", str(self.process.pid), "-f", f"dicom_sr_node.* {role} --parent", check=False).stdout
        return [int(line) for line in found.split()]

    def fsck(self) -> dict[str, Any]:
        """What `srnode fsck` says; nothing may be broken."""
        found: dict[str, Any] = json.loads(srnode("fsck", "--json", "-c", self.config, check=False).stdout)
        assert found["violations"] == [], found
        return found

    def kill(self, role: str) -> int:
        pid = wait_until(lambda: self.pids(role), 30, f"a process of role {role}")[0]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), 10, f"the end of role {role}")  # reaped: all threads gone
        return pid

    def storescu(
        self, *paths: str | Path, options: Sequence[str] = ("-R",), check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        tool = need("storescu", "dcmtk")
        return run(tool, *options, "-aec", "SRNODE", "127.0.0.1", str(self.settings.scp.port), *paths, check=check)

    def wait(self, *, jobs: int, within_s: float = 120) -> list[dict[str, Any]]:
        """All jobs, once there are so many and none is waiting or running, and no delivery is on its way."""

        def settled() -> list[dict[str, Any]] | None:
            rows = self.store.jobs.ls((), 10_000)
            open_jobs = [row for row in rows if row["state"] in ("ready", "running")]
            open_states = (JobState.READY, JobState.RUNNING, JobState.SENT)
            on_way = [c for c in self.store.deliveries.counts().values() if any(c[state] for state in open_states)]
            return rows if len(rows) >= jobs and not open_jobs and not on_way else None

        return wait_until(settled, within_s, f"the end of {jobs} jobs (log: {self.log})")


@dataclass
class Outbox:
    """Results that are ready to be sent, without a worker that made them, and lanes in this process to send them."""

    settings: Settings
    store: Store
    spool: Spool

    @classmethod
    def of(cls, settings: Settings) -> Outbox:
        store = store_of(settings)
        upgrade(store.engine)
        return cls(settings, store, Spool(settings.node.spool, "outbox"))

    def put(self, number: int, *destinations: str) -> Dataset:
        """One image that was received and upscaled; returns its result."""
        source, result = image(32, number=number), image(48, number=number + 1000)
        buffers = [io.BytesIO(), io.BytesIO()]
        for ds, buffer in zip((source, result), buffers, strict=True):
            ds.save_as(buffer, enforce_file_format=True)
        stored = self.spool.keep("in", [buffers[0].getvalue()])
        stored = replace(stored, sha256=data_set_sha256(self.spool.path("in", stored.name)))
        said = identity_of(source)
        syntax = str(source.file_meta.TransferSyntaxUID)
        self.store.instances.receive(said, stored, transfer_syntax_uid=syntax, origin=Origin(calling_ae="MOD"))
        job = self.store.jobs.claim("w", 60)
        assert job is not None
        columns = {"kind": OutputKind.IMAGE, "model": "m", "scale": 4, "series_uid": str(result.SeriesInstanceUID)}
        columns |= {"sop_class_uid": str(result.SOPClassUID), "sop_instance_uid": str(result.SOPInstanceUID)}
        kept = StoredOutput(columns, self.spool.keep("outbox", [buffers[1].getvalue()]), destinations)
        self.store.jobs.done(job, JobResult((kept,), {}))
        return result

    def worker(self, name: str) -> DestinationWorker:
        return destination_worker(self.settings, RoleContext(self.store, self.spool, "d"), name)

    def states(self, name: str) -> dict[str, int]:
        """How many deliveries to a destination are in each state, those that are in none left out."""
        return {str(state): n for state, n in self.store.deliveries.counts().get(name, {}).items() if n}

    def due(self) -> None:
        """Time passes: everything that waits is due now."""
        with self.store.engine.begin() as connection:
            connection.execute(update(tables.delivery).values(run_at=0.0, commit_at=0.0))
            connection.execute(update(tables.destination).values(closed_until=0.0))
            connection.execute(update(tables.asked).values(run_at=0.0))

    def close(self) -> None:
        self.store.engine.dispose()


def _node_toml(folder: Path, peers: dict[str, int], more: str, port: int) -> str:
    lines = [
        "[node]",
        f'data_dir = "{folder / "var"}"',
        "[scp]",
        f"port = {port}",
        "[web]",
        "enabled = false",
        "[model]",
        'name = "xr-lite"',  # the same on every machine: "auto" depends on the processor
        "[work]",
        "lease_s = 5",
        "retry_first_s = 1.0",
        "retry_max_s = 2.5",
        "[delivery]",
        "retry_first_s = 0.5",
        "retry_max_s = 2",
        more,
    ]
    for name, port in peers.items():
        lines += [f"[peers.{name}]", f'ae_title = "{name}"', 'host = "127.0.0.1"', f"port = {port}"]
    if peers:
        lines += ["[[rules]]", 'name = "all"', f"send_to = {json.dumps(list(peers))}"]
    return "\n".join(lines) + "\n"


def echo(node: Node) -> float:
    """How many seconds a new association with one C-ECHO takes."""
    began = time.monotonic()
    ae = AE(ae_title="GOOD")
    ae.add_requested_context("1.2.840.10008.1.1")
    assoc = ae.associate("127.0.0.1", node.settings.scp.port, ae_title="SRNODE")
    assert assoc.is_established
    assert assoc.send_c_echo().Status == 0x0000
    took_s = time.monotonic() - began
    assoc.release()
    return took_s
