"""What the tests share: a node, real peers, a scripted archive, and images."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import DataElement, Dataset, dcmread
from pydicom.dataset import FileDataset
from pynetdicom import AE, build_role, evt
from sqlalchemy import update

from dicom_sr_node import app, phantom
from dicom_sr_node.answers import Kept, Made
from dicom_sr_node.configuration import load
from dicom_sr_node.deliver.sender import Lane
from dicom_sr_node.derive import encoding
from dicom_sr_node.network import commitment, syntaxes
from dicom_sr_node.pixels.header import data_set_sha256, identity_of
from dicom_sr_node.pixels.reader import Admission, Reader
from dicom_sr_node.process import Derived
from dicom_sr_node.process import process as process_image
from dicom_sr_node.records import Kind, Origin
from dicom_sr_node.routing import IN_SERVICE
from dicom_sr_node.settings import Derive, Model, Rule, Settings
from dicom_sr_node.spool import Spool
from dicom_sr_node.store import tables
from dicom_sr_node.store.engine import upgrade
from model.upscaler import Upscaler

T = TypeVar("T")
NOW = datetime(2026, 5, 4, 12, 30, 15, tzinfo=UTC)
ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"
_NOT_PASSED_ON = ("SRNODE", "PYTHONDONTWRITEBYTECODE")  # hundreds of processes start: none compiles all again
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith(_NOT_PASSED_ON)} | {"TCP_NODELAY": "1"}


def wait_until(found: Callable[[], T], within_s: float = 60, what: str = "it") -> T:
    """The first true answer. Fails the test when none comes in time."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if answer := found():
            return answer
        time.sleep(0.05)
    pytest.fail(f"{what} did not happen within {within_s:g} s")


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


def free_port() -> int:
    """A port that nobody listens on, below those that the kernel gives to outgoing connections."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def is_gone(pid: int) -> bool:
    """Whether a process has ended, so that the kernel has closed all that it held open."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def need(program: str, package: str) -> str:
    """The path of a Debian tool, or a skip that says how to get it."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed: apt-get install {package}")
    return found


def shared(*parts: str) -> Path:
    """A file of the shared data, or a skip."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"the shared data is not beside the project: {'/'.join(parts)}")
    return path


def run(*command: str | Path, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program to its end with its output captured."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
        errors="replace",
        **options,
    )
    assert not check or done.returncode == 0, (
        f"{command[0]} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    )
    return done


def srnode(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-m", "dicom_sr_node", *arguments, check=check)


def image(size: int = 64, **options: Any) -> FileDataset:
    """A phantom radiograph as a data set."""
    return phantom.dicom(_drawn(size, options.pop("seed", 7)).copy(), **options)


@cache
def _drawn(size: int, seed: int) -> NDArray[np.uint16]:
    return phantom.draw(size, seed=seed)


def save(ds: Dataset, path: Path) -> Path:
    ds.save_as(path, enforce_file_format=True)
    return path


def process(
    path: Path, reader: Reader, upscaler: Upscaler, *, scale: Any = "auto", rules: tuple[Rule, ...] = (), **wanted: Any
) -> Derived:
    """`process` with everything as configured by default, but no label."""
    derive = Derive(**{"label": "none", **wanted})
    admission = Admission(rules, Model(scale=scale), derive.label, {IN_SERVICE: upscaler.scales})
    made = process_image(path, reader, lambda name: upscaler, admission=admission, wanted=derive, now=NOW)
    return made.results[0]


def upscale(source: Path, target: Path, reader: Reader, upscaler: Upscaler, **more: Any) -> FileDataset:
    """The derived image of a file, written and read again."""
    target.write_bytes(encoding.plain(process(source, reader, upscaler, **more).image))
    return dcmread(target)


def put(ds: Dataset, keyword: str, vr: str, value: object) -> Dataset:
    """An element with a value that its VR does not allow."""
    ds[keyword] = DataElement(keyword, vr, None)
    ds[keyword]._value = value
    return ds


def with_overlay(ds: Dataset, *, origin: int = 1, rows: int = 64, columns: int = 64) -> Dataset:
    """With a graphic overlay plane in group 6000."""
    for element, vr, value in (
        (0x0010, "US", rows),
        (0x0011, "US", columns),
        (0x0040, "CS", "G"),
        (0x0050, "SS", [origin, origin]),
        (0x0100, "US", 1),
        (0x0102, "US", 0),
        (0x3000, "OW", b"\1" * (rows * columns // 8)),
    ):
        ds.add_new((0x6000, element), vr, value)
    return ds


def set_pixels(ds: Dataset, values: np.ndarray) -> None:
    """Replace the pixels; the header follows in size and allocation."""
    ds.Rows, ds.Columns = values.shape
    ds.BitsAllocated = 8 * values.dtype.itemsize
    raw = values.astype(values.dtype.newbyteorder("<")).tobytes()
    ds.PixelData = raw + b"\0" * (len(raw) % 2)
    ds["PixelData"].VR = "OB" if ds.BitsAllocated == 8 else "OW"


@dataclass
class Node:
    """A node in processes of its own."""

    config: Path
    settings: Settings
    log: Path
    process: subprocess.Popen[bytes] | None = None
    store: app.Store = field(init=False)

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
        """Edit the configuration of a node that does not run."""
        text = self.config.read_text()
        assert old in text
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
        self.store = app.store(self.settings)
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
            rows = self.store.jobs.ls(None, 10_000)
            open_jobs = [row for row in rows if row["state"] in ("ready", "running")]
            on_way = [c for c in self.store.deliveries.counts().values() if c["ready"] or c["running"] or c["sent"]]
            return rows if len(rows) >= jobs and not open_jobs and not on_way else None

        return wait_until(settled, within_s, f"the end of {jobs} jobs (log: {self.log})")


@dataclass
class Outbox:
    """Results that are ready to be sent, without a worker that made them, and lanes in this process to send them."""

    settings: Settings
    store: app.Store
    spool: Spool

    @classmethod
    def of(cls, settings: Settings) -> Outbox:
        store = app.store(settings)
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
        columns = {"kind": Kind.IMAGE, "model": "m", "scale": 4, "series_uid": str(result.SeriesInstanceUID)}
        columns |= {"sop_class_uid": str(result.SOPClassUID), "sop_instance_uid": str(result.SOPInstanceUID)}
        kept = Kept(columns, self.spool.keep("outbox", [buffers[1].getvalue()]), destinations)
        self.store.jobs.done(job, Made((kept,), {}, ()))
        return result

    def lane(self, name: str) -> Lane:
        return app.lane(self.settings, app.Corner(self.store, self.spool, "d"), name)

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
        "[work]",
        "lease_s = 5",
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


class Postgres:
    """A real PostgreSQL server on loopback, with a new database for whoever asks."""

    def __init__(self) -> None:
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="srnode-pg-"))
        self._count = 0

    def start(self) -> Postgres:
        """The server refuses to run as root, who hands it to the user that the package has made."""
        if os.getuid() == 0:
            shutil.chown(self._folder, "postgres", "postgres")
        self._run("initdb", "-A", "trust", "-U", "srnode", "--no-sync")
        self._control("start")
        return self

    def restart(self) -> None:
        """As after a failover: all connections break."""
        self._control("restart")

    def stop(self) -> None:
        self._control("stop")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _control(self, what: str) -> None:
        options = f"-h 127.0.0.1 -p {self.port} -k '' -c max_connections=200"
        self._run("pg_ctl", "-w", "-m", "fast", "-l", self._folder / "log", "-o", options, what)

    def _run(self, tool: str, *arguments: str | Path) -> None:
        """Debian keeps the server's programs out of the path."""
        found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{tool}"))
        program = str(found[-1]) if found else need(tool, "postgresql")
        as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        run(*as_user, program, "-D", self._folder / "db", *arguments, cwd="/")

    def url(self) -> str:
        """Of a new, empty database."""
        self._count += 1
        name = f"node{self._count}"
        assert self.sql("postgres", f"CREATE DATABASE {name}").returncode == 0
        return f"postgresql+psycopg://srnode@127.0.0.1:{self.port}/{name}"

    def sql(self, name: str, statement: str) -> subprocess.CompletedProcess[str]:
        psql = need("psql", "postgresql")
        return run(psql, "-h", "127.0.0.1", "-p", str(self.port), "-U", "srnode", "-c", statement, name, check=False)


class Archive:
    """A scripted PACS: answers each C-STORE with the next status of its script, then with success.

    commits: whether it offers storage commitment, and how it reports: on the `same` association, in `reverse` to a
    port, or `never`. lost: SOP Instance UIDs that it denies to have.
    """

    def __init__(
        self,
        port: int | None = None,
        script: Sequence[int] = (),
        syntaxes_taken: Sequence[str] = (),
        commits: str = "",
        reverse_port: int = 0,
    ) -> None:
        self.port = port or free_port()
        self.script = list(script)
        self.commits, self.reverse_port = commits, reverse_port
        self.lost: list[str] = []
        self.asked: list[Dataset] = []
        self.syntaxes_taken = list(syntaxes_taken) or syntaxes.UNCOMPRESSED
        self.received: list[Dataset] = []
        self._server: Any = None

    @property
    def uids(self) -> list[str]:
        return [str(ds.SOPInstanceUID) for ds in self.received]

    def start(self) -> Archive:
        ae = AE(ae_title="ARCHIVE")
        for uid in syntaxes.storage_classes("all"):
            ae.add_supported_context(uid, self.syntaxes_taken)
        ae.add_supported_context("1.2.840.10008.1.1")
        if self.commits:
            ae.add_supported_context(commitment.SOP_CLASS, scu_role=True, scp_role=True)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_N_ACTION, self._commit)]
        self._server = ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server = None

    def _commit(self, event: evt.Event) -> tuple[int, None]:
        self.asked.append(event.action_information)
        request = commitment.Request.read(event.action_information)
        failed = {ref: 0x0112 for ref in request.references if ref.sop_instance_uid in self.lost}
        kept = [ref for ref in request.references if ref not in failed]
        self.lost = []
        report = commitment.Report(request.transaction_uid, kept, failed)
        if self.commits != "never":
            threading.Thread(target=self.report, args=(report, event.assoc)).start()
        return 0x0000, None

    def report(self, report: commitment.Report, assoc: Any = None, title: str = "ARCHIVE") -> int:
        """Send a report; returns the status of the answer, or -1."""
        time.sleep(0.1)
        if self.commits == "same":
            answer, _ = assoc.send_n_event_report(
                report.data_set(), report.event_type, commitment.SOP_CLASS, commitment.SOP_INSTANCE
            )
            return int(answer.Status)
        ae = AE(ae_title=title)
        ae.add_requested_context(commitment.SOP_CLASS)
        role = build_role(commitment.SOP_CLASS, scp_role=True)
        assoc = ae.associate("127.0.0.1", self.reverse_port, ae_title="SRNODE", ext_neg=[role])
        if not assoc.is_established:
            return -1
        answer, _ = assoc.send_n_event_report(
            report.data_set(), report.event_type, commitment.SOP_CLASS, commitment.SOP_INSTANCE
        )
        assoc.release()
        return int(answer.Status)

    def _store(self, event: evt.Event) -> int:
        status = self.script.pop(0) if self.script else 0x0000
        if status in (0x0000, 0xB000):
            ds = event.dataset
            ds.file_meta = event.file_meta
            self.received.append(ds)
        return status


class Orthanc:
    """A real Orthanc on loopback."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.folder, self.port, self.http = folder, free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http}"
        self._more = more
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Orthanc:
        program = need("Orthanc", "orthanc")
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "orthanc.json"
        values = {
            "Name": "TEST",
            "StorageDirectory": str(self.folder / "db"),
            "IndexDirectory": str(self.folder / "db"),
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "HttpPort": self.http,
            "DicomPort": self.port,
            "DicomAet": "ORTHANC",
            "DicomCheckCalledAet": False,
            "Plugins": [],
            **self._more,
        }
        config.write_text(json.dumps(values))
        with (self.folder / "orthanc.log").open("ab") as file:
            self._process = subprocess.Popen([program, str(config)], stdout=file, stderr=file, env=ENVIRONMENT)
        wait_until(lambda: self.get("/system"), 60, "Orthanc's start")
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None

    def get(self, path: str) -> Any:
        """The JSON of a REST answer, or None while it does not answer."""
        try:
            answer = httpx.get(f"{self.url}{path}", timeout=20)
        except httpx.TransportError:
            return None
        return answer.json() if answer.is_success else None

    def instances(self) -> list[dict[str, Any]]:
        """Each instance with its tags."""
        return list(self.get("/instances?expand") or [])

    def file(self, instance_id: str, path: Path) -> Path:
        answer = httpx.get(f"{self.url}/instances/{instance_id}/file", timeout=60)
        path.write_bytes(answer.raise_for_status().content)
        return path


@contextmanager
def started(thing: T) -> Iterator[T]:
    """Start now, stop at the end, whatever happens."""
    thing.start()  # type: ignore[attr-defined]
    try:
        yield thing
    finally:
        thing.stop()  # type: ignore[attr-defined]


def dciodvfy_errors(path: Path) -> set[str]:
    """The error lines of dciodvfy."""
    output = run(need("dciodvfy", "dicom3tools"), "-new", path, check=False)
    return {line for line in (output.stdout + output.stderr).splitlines() if line.startswith("Error")}


SYNTHETIC_DATA_WAIVER = (
    "Error - </(0008,001c)> - Attribute with an even group number is not a recognized standard attribute"
)
