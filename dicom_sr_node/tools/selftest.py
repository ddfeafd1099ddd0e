"""`srnode selftest`: a phantom through the running node and back. It goes to the folder only, and is removed there."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydicom.uid import generate_uid

from dicom_sr_node.config.destinations import Peer
from dicom_sr_node.config.settings import Settings
from dicom_sr_node.dicom import header
from dicom_sr_node.domain.errors import NodeError
from dicom_sr_node.domain.records import FOLDER, JobState, Output, OutputKind
from dicom_sr_node.network import associations, c_store
from dicom_sr_node.network.local_entity import LocalEntity
from dicom_sr_node.pixels.sandbox import DecoderProcess
from dicom_sr_node.rules.routing import SELFTEST_AE, SELFTEST_ID
from dicom_sr_node.spool import Spool
from dicom_sr_node.store.database import Store
from dicom_sr_node.tools import phantom
from dicom_sr_node.verify.check import Verification
from dicom_sr_node.verify.verification import verify

T = TypeVar("T")
_SIDE = 256  # pixels
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where a node that listens everywhere is reached


@dataclass(frozen=True)
class SelfTestResult:
    """Seconds from the start of the C-STORE, and each promise held against the two files."""

    acknowledged_s: float
    worked_s: float
    delivered_s: float
    model: str
    checks: list[Verification]


def run(settings: Settings, store: Store, spool: Spool, patience_s: float) -> SelfTestResult:
    """Raises NodeError where something does not happen in time, or DeliveryError where the receiver refuses."""
    scp = settings.scp
    if not scp.plain:
        raise NodeError("the self-test calls in the clear, and scp.plain is false")
    itself = Peer(ae_title=settings.node.ae_title, host=_ANYWHERE.get(scp.host, scp.host), port=scp.port)
    caller = LocalEntity(SELFTEST_AE, settings.delivery, settings.tls)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "phantom.dcm"
        uid = _write(source)
        began = time.monotonic()
        with associations.association(caller, itself, [c_store.context_of(source)]) as assoc:
            c_store.send(assoc, header.read(source), itself)
        acknowledged_s = time.monotonic() - began
        deadline = began + patience_s
        output = _until(lambda: _made(store, uid), deadline, "the result: does a `work` role run?")
        worked_s = time.monotonic() - began
        _until(lambda: _delivered(store, output), deadline, "the delivery: does a `deliver` role run?")
        delivered_s = time.monotonic() - began
        with DecoderProcess(settings.work) as reader:
            checks = verify(spool.path("outbox", output.file), source, reader)
    (settings.node.out_dir / output.series_uid / f"{output.sop_instance_uid}.dcm").unlink(missing_ok=True)
    return SelfTestResult(acknowledged_s, worked_s, delivered_s, output.model, checks)


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
    if job is not None and job.state in (JobState.DEAD, JobState.SKIPPED):
        raise NodeError(f"the phantom was not upscaled: {job.state}, {job.reason}")
    outputs = store.outputs.of_job(job.id) if job is not None and job.state == JobState.DONE else []
    return next((output for output in outputs if output.kind == OutputKind.IMAGE), None)


def _delivered(store: Store, output: Output) -> bool:
    ways = store.deliveries.of_output(output.id)
    if {way.destination for way in ways} != {FOLDER}:
        raise NodeError("the phantom is on its way to a peer: this should not be")
    return all(way.state == JobState.DONE for way in ways)


def _until(probe: Callable[[], T | None], deadline: float, what: str) -> T:
    while not (answer := probe()):
        if time.monotonic() > deadline:
            raise NodeError(f"in time there was not {what}")
        time.sleep(0.1)
    return answer
