"""A fault of ours is never told as a fault of the image: the sender keeps its copy, the job is tried again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pynetdicom import AE
from support.images import image
from support.node import Node, Outbox

from dicom_sr_node.audit.messages import AuditMessages
from dicom_sr_node.commitment.policy import CommitmentPolicy
from dicom_sr_node.commitment.scp import CommitmentScp
from dicom_sr_node.dicom import damage, header
from dicom_sr_node.domain.errors import OurFault, Unreadable
from dicom_sr_node.domain.messages import Failed, InferenceRequest, Rejected
from dicom_sr_node.domain.records import Origin
from dicom_sr_node.network.refusals import Refusals
from dicom_sr_node.receive.scp import Receiver
from dicom_sr_node.role import RoleContext
from dicom_sr_node.rules import routing
from dicom_sr_node.work.inference import InferenceProcess


def slip(*arguments: object) -> None:
    """A mistake as it happens in code."""
    raise AttributeError("'Rule' object has no attribute 'mtach'")


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox.of(Node.configure(tmp_path).settings)
    yield outbox
    outbox.close()


@pytest.fixture
def receiver(outbox: Outbox) -> Iterator[Receiver]:
    store = outbox.store
    policy = CommitmentPolicy(store.inbound_requests, store.instances, outbox.spool)
    role = RoleContext(store, outbox.spool, "receive")
    refusals = Refusals()
    commitment = CommitmentScp({}, policy, store.commitments, "receive", refusals)
    receiver = Receiver(outbox.settings, role, AuditMessages("SRNODE", enabled=False), commitment, refusals)
    receiver.start()
    yield receiver
    receiver.stop()


def store_one(port: int) -> int:
    ds = image(32)
    ae = AE(ae_title="MOD")
    ae.add_requested_context(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID)
    assoc = ae.associate("127.0.0.1", port, ae_title="SRNODE")
    assert assoc.is_established
    status = int(assoc.send_c_store(ds).Status)
    assoc.release()
    return status


@pytest.mark.usefixtures("receiver")
def test_the_sender_is_told_to_come_again_and_the_log_says_where(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    port = outbox.settings.scp.port
    with monkeypatch.context() as broken:
        broken.setattr(routing, "rule_for", slip)
        assert store_one(port) == 0xA700
    (record,) = [record for record in caplog.records if record.getMessage() == "image not stored"]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], AttributeError)
    assert store_one(port) == 0x0000


def test_an_orphan_that_our_code_fails_on_stays_and_keeps_nobody_from_starting(
    outbox: Outbox, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.put(1, "A")
    (name,) = outbox.spool.names("in")
    copy = outbox.spool.keep("in", [outbox.spool.path("in", name).read_bytes()])
    monkeypatch.setattr(routing, "rule_for", slip)
    receiver.adopt()
    assert copy.name in outbox.spool.names("in")


@pytest.mark.parametrize(
    ("error", "answer"), [(OurFault("AttributeError at routing.py:52"), Failed), (Unreadable("cut off"), Rejected)]
)
def test_the_worker_tries_again_what_our_code_failed_on(
    error: Exception, answer: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: InferenceProcess, request: InferenceRequest) -> None:
        raise error

    monkeypatch.setattr(InferenceProcess, "_make", fail)
    said = InferenceProcess.answer(object.__new__(InferenceProcess), InferenceRequest(Path("x"), Origin()))
    assert type(said) is answer
    assert str(error) in said.reason  # type: ignore[union-attr]


def damaged() -> Dataset:
    """A data set whose number of rows was cut in half, as it lies in a file before it is looked at."""
    ds = Dataset()
    rows = Tag("Rows")
    ds[rows] = RawDataElement(rows, "US", 1, b"\x40", 0, False, True)
    return ds


def test_what_pydicom_raises_is_damage() -> None:
    with pytest.raises(Unreadable, match="cannot be used"), damage.usable():
        header.first(damaged(), "Rows")


def test_what_our_lines_raise_is_not_damage() -> None:
    with pytest.raises(AttributeError, match="mtach"), damage.usable():
        slip()
