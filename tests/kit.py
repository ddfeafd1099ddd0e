"""What the tests share: a node, real peers, a scripted archive, and images."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from pydicom import DataElement, Dataset, dcmread
from pydicom.dataset import FileDataset
from pynetdicom import AE, evt

from dicom_sr_node import app, phantom
from dicom_sr_node.derive import encoding
from dicom_sr_node.network import syntaxes
from dicom_sr_node.pixels.reader import Admission, Reader
from dicom_sr_node.process import Derived
from dicom_sr_node.process import process as process_image
from dicom_sr_node.settings import Derive, Model, Rule, Settings, load
from model.upscaler import Upscaler

T = TypeVar("T")
NOW = datetime(2026, 5, 4, 12, 30, 15, tzinfo=UTC)
ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"
ENVIRONMENT = {**{k: v for k, v in os.environ.items() if not k.startswith("SRNODE")}, "TCP_NODELAY": "1"}


def wait_until(found: Callable[[], T], within_s: float = 60, what: str = "it") -> T:
    """The first true answer. Fails the test when none comes in time."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if answer := found():
            return answer
        time.sleep(0.05)
    pytest.fail(f"{what} did not happen within {within_s:g} s")


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
    seed = options.pop("seed", 7)
    return phantom.dicom(phantom.draw(size, seed=seed), **options)


def save(ds: Dataset, path: Path) -> Path:
    ds.save_as(path, enforce_file_format=True)
    return path


def process(
    path: Path, reader: Reader, upscaler: Upscaler, *, scale: Any = "auto", rules: tuple[Rule, ...] = (), **wanted: Any
) -> Derived:
    """`process` with everything as configured by default, but no label."""
    admission = Admission(rules, Model(scale=scale), upscaler.scales)
    derive = Derive(**{"label": "none", **wanted})
    return process_image(path, reader, upscaler, admission=admission, wanted=derive, now=NOW)


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
        cls, folder: Path, *, peers: dict[str, int] | None = None, more: str = "", port: int | None = None
    ) -> Node:
        """peers: name (also the AE title) -> port; all of them get every result."""
        config = folder / "node.toml"
        config.write_text(_node_toml(folder, peers or {}, more, port or free_port()), encoding="utf-8")
        return cls(config, load(config, {}), folder / "node.log")

    def start(self, *command: str) -> None:
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dicom_sr_node", "-c", str(self.config), *(command or ("serve",))],
                stdout=file,
                stderr=file,
                env=ENVIRONMENT,
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
            on_way = [c for c in self.store.deliveries.counts().values() if c["ready"] or c["running"]]
            return rows if len(rows) >= jobs and not open_jobs and not on_way else None

        return wait_until(settled, within_s, f"the end of {jobs} jobs (log: {self.log})")


def _node_toml(folder: Path, peers: dict[str, int], more: str, port: int) -> str:
    lines = [
        "[node]",
        f'data_dir = "{folder / "var"}"',
        "[scp]",
        f"port = {port}",
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
        assert self._sql("postgres", f"CREATE DATABASE {name}").returncode == 0
        return f"postgresql+psycopg://srnode@127.0.0.1:{self.port}/{name}"

    def _sql(self, name: str, statement: str) -> subprocess.CompletedProcess[str]:
        psql = need("psql", "postgresql")
        return run(psql, "-h", "127.0.0.1", "-p", str(self.port), "-U", "srnode", "-c", statement, name, check=False)


class Archive:
    """A scripted PACS: answers each C-STORE with the next status of its script, then with success."""

    def __init__(self, port: int | None = None, script: Sequence[int] = (), syntaxes_taken: Sequence[str] = ()) -> None:
        self.port = port or free_port()
        self.script = list(script)
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
        handlers = [(evt.EVT_C_STORE, self._store)]
        self._server = ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server = None

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
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=20) as answer:
                return json.loads(answer.read())
        except (urllib.error.URLError, ConnectionError):
            return None

    def instances(self) -> list[dict[str, Any]]:
        """Each instance with its tags."""
        return list(self.get("/instances?expand") or [])

    def file(self, instance_id: str, path: Path) -> Path:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/instances/{instance_id}/file", timeout=60) as answer:
            path.write_bytes(answer.read())
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
