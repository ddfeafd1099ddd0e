"""`srnode demo`: the whole journey on loopback: a node, a synthetic radiograph sent by C-STORE, a built-in destination.

Everything lies in one folder and stays there, so a second run shows that nothing is doubled: same image, same derived
UIDs.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pynetdicom import AE, evt
from pynetdicom.transport import ThreadedAssociationServer
from rich.console import Console

from dicom_sr_node.config import loading
from dicom_sr_node.config.destinations import Peer
from dicom_sr_node.config.settings import Settings
from dicom_sr_node.config.working import WorkSettings
from dicom_sr_node.dicom import header, syntaxes, validation
from dicom_sr_node.domain.errors import DeliveryError, NodeError
from dicom_sr_node.domain.records import JobState, Output
from dicom_sr_node.network import associations, c_store
from dicom_sr_node.network.local_entity import LocalEntity
from dicom_sr_node.pixels.decode import decode
from dicom_sr_node.pixels.sandbox import DecoderProcess
from dicom_sr_node.runtime import log
from dicom_sr_node.store.database import open_store
from dicom_sr_node.tools import phantom
from dicom_sr_node.verify.verification import verify

START_S, JOURNEY_S = 90.0, 300.0
CROP = 96  # source pixels of the detail in the picture

_CONFIG = """\
# Made by `srnode demo`.
[node]
ae_title = "SRNODE"
data_dir = {data_dir}

[scp]
port = {port}

[web]
enabled = false

[delivery]
retry_first_s = 1

[peers.ARCHIVE]
ae_title = "ARCHIVE"
host = "127.0.0.1"
port = {archive_port}

[[rules]]
name = "chest"
match.modality = ["CR", "DX"]
send_to = ["ARCHIVE"]
"""


@dataclass(frozen=True)
class Journey:
    """One image's way, in seconds from the start of the C-STORE."""

    output: Output
    acknowledged_s: float
    worked_s: float
    delivered_s: float
    again: bool  # the node had this image from an earlier run


def run(folder: Path, *, once: bool, stop: Event) -> int:
    """Returns the exit code: 0 if the image arrived and `verify` passes."""
    validation.relax_validation()
    log.start(level=30)
    console = Console(highlight=False, soft_wrap=True)
    folder.mkdir(parents=True, exist_ok=True)
    source = _draw(folder)
    port, archive_port = _free_port(), _free_port()
    config = _configure(folder, port, archive_port)
    with _archive(folder / "archive", archive_port), _node(config, console):
        journey = _travel(loading.load(config, {}), source, stop)
        code = _report(console, journey, source, folder)
        if not once and not stop.is_set():
            console.print(
                f"\nThe node listens on 127.0.0.1:{port} (AE title SRNODE) and delivers to {folder / 'archive'}."
            )
            console.print(f"Try:  srnode -c {config} status   or   storescu -aec SRNODE 127.0.0.1 {port} FILE.dcm")
            console.print("Ctrl-C ends it.")
            stop.wait()
    return code


def _draw(folder: Path) -> Path:
    path = folder / "source.dcm"
    phantom.dicom(phantom.draw()).save_as(path, enforce_file_format=True)
    return path


def _configure(folder: Path, port: int, archive_port: int) -> Path:
    path = folder / "node.toml"
    data_dir = str((folder / "node").resolve()).replace("\\", "\\\\").replace('"', '\\"')
    path.write_text(_CONFIG.format(data_dir=f'"{data_dir}"', port=port, archive_port=archive_port), encoding="utf-8")
    return path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


@contextmanager
def _archive(folder: Path, port: int) -> Iterator[None]:
    """The destination: an SCP that keeps what it gets as `SOP Instance UID.dcm`."""
    folder.mkdir(exist_ok=True)

    def keep(event: evt.Event) -> int:
        uid = header.check_uid(event.request.AffectedSOPInstanceUID, "SOP Instance UID")
        (folder / f"{uid}.dcm").write_bytes(event.encoded_dataset())
        return 0x0000

    ae = AE(ae_title="ARCHIVE")
    for uid in syntaxes.storage_classes("radiographs"):
        ae.add_supported_context(uid, syntaxes.UNCOMPRESSED)
    server: ThreadedAssociationServer = ae.start_server(
        ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)]
    )
    try:
        yield
    finally:
        server.shutdown()


@contextmanager
def _node(config: Path, console: Console) -> Iterator[None]:
    """A whole node in processes of its own; its log goes to a file beside the configuration."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SRNODE")}
    log_path = config.with_name("node.log")
    console.print(f"starting a node (log: {log_path}) ...")
    with log_path.open("ab") as file:
        command = [sys.executable, "-m", "dicom_sr_node", "--config", str(config), "serve"]
        process = subprocess.Popen(command, stderr=file, stdout=file, env=environment, start_new_session=True)
        try:
            _wait_for_echo(loading.load(config, {}), process, log_path)
            yield
        finally:
            process.terminate()
            process.wait()


def _wait_for_echo(config: Settings, process: subprocess.Popen[bytes], log_path: Path) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            associations.echo(_sender(config), _itself(config))
            return
        except DeliveryError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise NodeError(f"the node did not start; see {log_path}") from error
            time.sleep(0.2)


def _itself(config: Settings) -> Peer:
    return Peer(ae_title=config.node.ae_title, host=config.scp.host, port=config.scp.port)


def _sender(config: Settings) -> LocalEntity:
    """The one who sends the image."""
    return LocalEntity("DEMO", config.delivery, config.tls)


def _travel(config: Settings, source: Path, stop: Event) -> Journey:
    """Send the image and wait until its result has arrived. Raises NodeError if it does not."""
    peer = _itself(config)
    store = open_store(config.node, config.database)
    uid = header.read(source, pixels=False).SOPInstanceUID
    again = store.jobs.of_image(uid) is not None
    started = time.monotonic()
    with associations.association(_sender(config), peer, [c_store.context_of(source)]) as assoc:
        c_store.send(assoc, header.read(source), peer)
    acknowledged_s = time.monotonic() - started
    worked_s: float | None = None
    while time.monotonic() - started < JOURNEY_S and not stop.wait(0.05):
        job = store.jobs.of_image(uid)
        if job is not None and job.state in (JobState.DEAD, JobState.SKIPPED):
            raise NodeError(f"the image ended as {job.state}: {job.reason}")
        outputs = store.outputs.of_job(job.id) if job else []
        if not outputs:
            continue
        output = outputs[0]
        worked_s = worked_s or time.monotonic() - started
        ways = store.deliveries.of_output(output.id)
        if all(way.state == JobState.DONE for way in ways):
            return Journey(output, acknowledged_s, worked_s, time.monotonic() - started, again)
    raise NodeError(f"no result within {JOURNEY_S:g} s")


def _report(console: Console, journey: Journey, source: Path, folder: Path) -> int:
    derived = folder / "archive" / f"{journey.output.sop_instance_uid}.dcm"
    if not derived.exists():
        raise NodeError(f"{derived} of an earlier run is gone; remove {folder} to start afresh")
    picture = folder / "before-after.png"
    draw_before_after(source, derived, picture, journey.output.scale)
    with DecoderProcess(WorkSettings()) as reader:
        checks = verify(derived, source, reader)
    passed = all(check.passed for check in checks)
    if journey.again:
        console.print("the node has this image from an earlier run: acknowledged again, nothing is made or sent twice")
    console.print(f"acknowledged after {journey.acknowledged_s:6.2f} s  (synced and committed)")
    console.print(f"upscaled after     {journey.worked_s:6.2f} s  (x{journey.output.scale} by {journey.output.model})")
    console.print(f"delivered after    {journey.delivered_s:6.2f} s")
    console.print(f"derived SOP Instance UID  {journey.output.sop_instance_uid}")
    for check in checks:
        if not check.passed:
            console.print(f"FAIL  {check.name}: {check.found}", markup=False)
    console.print(f"verify: {'PASS' if passed else 'FAIL'} ({len(checks)} checks; srnode verify {derived} {source})")
    for name, path in (("source", source), ("derived", derived), ("picture", picture)):
        console.print(f"{name:8} {path}")
    return 0 if passed else 1


def draw_before_after(source_path: Path, derived_path: Path, target: Path, scale: int) -> None:
    """A PNG: the whole image, then the same detail before (as pixels) and after."""
    source, derived = (decode(header.read(path)) for path in (source_path, derived_path))
    low, high = (float(v) for v in np.percentile(source.values, (1, 99.5)))
    rows, columns = source.values.shape
    side = min(CROP, rows, columns)
    top, left = int(rows * 0.50), int(columns * 0.60)
    top, left = min(top, rows - side), min(left, columns - side)
    before = source.values[top : top + side, left : left + side]
    after = derived.values[top * scale : (top + side) * scale, left * scale : (left + side) * scale]
    edge = side * scale
    whole = Image.fromarray(_gray(source.values, low, high)).resize(
        (edge, edge * rows // columns), Image.Resampling.LANCZOS
    )
    enlarged = Image.fromarray(_gray(before, low, high)).resize((edge, edge), Image.Resampling.NEAREST)
    pictures = (whole, enlarged, Image.fromarray(_gray(after, low, high)))
    canvas = Image.new("L", (3 * edge + 2 * 8, max(picture.height for picture in pictures)), 255)
    for index, picture in enumerate(pictures):
        canvas.paste(picture, (index * (edge + 8), 0))
    canvas.save(target)


def _gray(values: NDArray[np.generic], low: float, high: float) -> NDArray[np.uint8]:
    share = (values.astype(np.float64) - low) / max(high - low, 1)
    return (np.clip(share, 0, 1) * 255).astype(np.uint8)
