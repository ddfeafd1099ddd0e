"""`srnode selftest`: a phantom through the running node and back. It goes to the folder only, and is removed there."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydicom.uid import generate_uid

from dicom_sr_node import phantom
from dicom_sr_node.app import Store
from dicom_sr_node.deliver import dimse
from dicom_sr_node.errors import NodeError
from dicom_sr_node.pixels.reader import Reader
from dicom_sr_node.records import FOLDER, Kind, Output, State
from dicom_sr_node.routing import SELFTEST_AE, SELFTEST_ID
from dicom_sr_node.settings import Peer, Settings
from dicom_sr_node.spool import Spool
from dicom_sr_node.verify import Check, verify

T = TypeVar("T")
_SIDE = 256  # pixels
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where a node that listens everywhere is reached


@dataclass(frozen=True)
class Outcome:
    """Seconds from the start of the C-STORE, and each promise held against the two files."""

    acknowledged_s: float
    worked_s: float
    delivered_s: float
    model: str
    checks: list[Check]


def run(settings: Settings, store: Store, spool: Spool, patience_s: float) -> Outcome:
    """Raises NodeError where something does not happen in time, or DeliveryError where the receiver refuses."""
    scp = settings.scp
    if not scp.plain:
        raise NodeError("the self-test calls in the clear, and scp.plain is false")
    itself = Peer(ae_title=settings.node.ae_title, host=_ANYWHERE.get(scp.host, scp.host), port=scp.port)
    caller = settings.model_copy(update={"node": settings.node.model_copy(update={"ae_title": SELFTEST_AE})})
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "phantom.dcm"
        uid = _write(source)
        began = time.monotonic()
        with dimse.association(caller, itself, [dimse.context_of(source)]) as assoc:
            dimse.send(assoc, source, itself)
        acknowledged_s = time.monotonic() - began
        deadline = began + patience_s
        output = _until(lambda: _made(store, uid), deadline, "the result: does a `work` role run?")
        worked_s = time.monotonic() - began
        _until(lambda: _delivered(store, output), deadline, "the delivery: does a `deliver` role run?")
        delivered_s = time.monotonic() - began
        with Reader(settings.work) as reader:
            checks = verify(spool.path("outbox", output.file), source, reader)
    (settings.node.data_dir / "out" / output.series_uid / f"{output.sop_instance_uid}.dcm").unlink(missing_ok=True)
    return Outcome(acknowledged_s, worked_s, delivered_s, output.model, checks)


def _write(path: Path) -> str:
    """A new image of nobody; returns its SOP Instance UID."""
    ds = phantom.dicom(phantom.draw(_SIDE, seed=1))
    ds.PatientID = SELFTEST_ID
    ds.StudyInstanceUID, ds.SeriesInstanceUID, uid = (generate_uid(prefix=None) for _ in range(3))
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid
    ds.save_as(path, enforce_file_format=True)
    return str(uid)


def _made(store: Store, uid: str) -> Output | None:
    job = store.jobs.of_image(uid)
    if job is not None and job.state in (State.DEAD, State.SKIPPED):
        raise NodeError(f"the phantom was not upscaled: {job.state}, {job.reason}")
    outputs = store.outputs.of_job(job.id) if job is not None and job.state == State.DONE else []
    return next((output for output in outputs if output.kind == Kind.IMAGE), None)


def _delivered(store: Store, output: Output) -> bool:
    ways = store.deliveries.of_output(output.id)
    if {way.destination for way in ways} != {FOLDER}:
        raise NodeError("the phantom is on its way to a peer: this should not be")
    return all(way.state == State.DONE for way in ways)


def _until(found: Callable[[], T | None], deadline: float, what: str) -> T:
    while not (answer := found()):
        if time.monotonic() > deadline:
            raise NodeError(f"in time there was not {what}")
        time.sleep(0.1)
    return answer
