"""Hostile files over the wire, byte for byte: each ends with a reason, and the next good image is served."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID
from pynetdicom import AE, _config
from pynetdicom.sop_class import ComputedRadiographyImageStorage, DigitalXRayImageStorageForPresentation
from support.archive import Archive
from support.hostile import COSTLY, claiming, data_set_start, mutated, siz, with_data_set
from support.images import image, save
from support.node import Node

from dicom_sr_node.dicom import software, statuses, syntaxes
from dicom_sr_node.domain.records import JobState

CLASSES = (DigitalXRayImageStorageForPresentation, ComputedRadiographyImageStorage)


@pytest.fixture
def verbatim(monkeypatch: pytest.MonkeyPatch) -> None:
    """pynetdicom sends the data set of a file as it is, without looking into it."""
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)


def send(node: Node, path: Path, syntax: str) -> int:
    """The status of the C-STORE."""
    ae = AE()
    for uid in CLASSES:
        ae.add_requested_context(uid, syntax)
    assoc = ae.associate("127.0.0.1", node.settings.scp.port, ae_title="SRNODE")
    assert assoc.is_established
    try:
        return int(assoc.send_c_store(path).Status)
    finally:
        assoc.release()


def with_whole_meta(content: bytes, path: Path) -> str | None:
    """Write a damaged data set behind file meta information that is whole, as C-STORE needs it; returns its syntax."""
    place = content.find(b"\x02\x00\x10\x00UI", 0, 1000)
    start = data_set_start(content)
    if place < 0 or start >= len(content):
        return None
    length = int.from_bytes(content[place + 6 : place + 8], "little")
    syntax = content[place + 8 : place + 8 + length].decode("latin-1").rstrip("\0 ")
    if syntax not in syntaxes.ACCEPTED:
        return None
    stream = DicomBytesIO()
    stream.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(stream, software.file_meta(CLASSES[0], image().SOPInstanceUID, syntax))
    path.write_bytes(stream.getvalue() + content[start:])
    return syntax


@pytest.mark.usefixtures("verbatim")
def test_what_is_hostile_ends_with_a_reason_and_the_next_image_is_served(
    node: Node, archive: Archive, tmp_path: Path
) -> None:
    path, stored, answers = tmp_path / "hostile.dcm", 0, set()
    for content in mutated(tmp_path, each=6, seed=9):
        if (syntax := with_whole_meta(content, path)) is not None:
            answers.add(answer := send(node, path, syntax))
            stored += answer == statuses.SUCCESS
    for content in COSTLY.values():
        answers.add(send(node, with_data_set(path, content), "1.2.840.10008.1.2.1"))
    huge = dcmread(save(claiming(siz(65535, 65535), 65535, 65535), path))
    assert send(node, path, huge.file_meta.TransferSyntaxUID) == statuses.SUCCESS
    assert answers <= set(statuses.ANSWERS)
    assert {statuses.SUCCESS, statuses.CANNOT_UNDERSTAND} <= answers
    assert stored > 10
    good = image(seed=3)
    good.SOPInstanceUID = good.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3.4.5")
    node.storescu(save(good, tmp_path / "good.dcm"))
    jobs = node.wait(jobs=1, within_s=240)
    for job in jobs:
        assert job["state"] in (JobState.DONE, JobState.SKIPPED, JobState.DEAD)
        assert job["reason"] or job["state"] == JobState.DONE
        assert job["attempt"] == 1
    (mine,) = [job for job in jobs if job["sop_instance_uid"] == "1.2.3.4.5"]
    assert mine["state"] == JobState.DONE
    assert "Traceback" not in node.log.read_text()


@pytest.mark.usefixtures("verbatim")
def test_a_costly_header_does_not_hold_up_another_sender(node: Node, archive: Archive, tmp_path: Path) -> None:
    path = with_data_set(tmp_path / "costly.dcm", COSTLY["a million elements before the identity"])
    with ThreadPoolExecutor() as pool:
        hostile = pool.submit(send, node, path, "1.2.840.10008.1.2.1")
        node.storescu(save(image(), tmp_path / "good.dcm"))
        assert hostile.result() == statuses.CANNOT_UNDERSTAND
    assert [job["state"] for job in node.wait(jobs=1)] == [JobState.DONE]
