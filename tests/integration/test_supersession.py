"""The same image of another patient: another result, the old one named, and a rejection note on request."""

from __future__ import annotations

import json
from pathlib import Path

from pydicom import Dataset
from support.archive import Archive
from support.command import srnode
from support.images import image, save
from support.node import Node
from support.tools import SYNTHETIC_DATA_WAIVER, dciodvfy_errors, started, wait_until

from dicom_sr_node.domain.records import JobState
from dicom_sr_node.monitor import health


def corrected() -> Dataset:
    ds = image(32)
    ds.PatientID, ds.PatientName = "RIGHT", "Right^Patient"
    return ds


def superseded(node: Node) -> list[str]:
    return [row.text for row in health.examine(node.settings, node.store).problems if row.kind == "superseded"]


def test_a_corrected_patient_is_another_result_and_the_old_one_can_be_rejected(
    tmp_path: Path, archive: Archive
) -> None:
    node = Node.configure(tmp_path, peers={"ARCHIVE": archive.port})
    with started(node):
        node.storescu(save(image(32), tmp_path / "wrong.dcm"))
        node.wait(jobs=1)
        assert superseded(node) == []
        coerced = image(32)
        coerced.StationName = "COERCED"  # the same image, though not the same bytes
        node.storescu(save(coerced, tmp_path / "coerced.dcm"))
        node.wait(jobs=2)
        assert (len(archive.uids), superseded(node)) == (1, [])
        node.storescu(save(corrected(), tmp_path / "right.dcm"))
        node.wait(jobs=3)
        old, new = archive.received
        assert (new.PatientID, str(new.PatientName)) == ("RIGHT", "Right^Patient")
        assert new.SOPInstanceUID != old.SOPInstanceUID
        assert [event["what"] for event in node.store.instances.events(1)][-1] == "superseded"
        assert "supersedes" in [event["what"] for event in node.store.instances.events(3)]
        (text,) = superseded(node)
        assert "image 1 that names another patient" in text
        assert "srnode jobs reject 1" in srnode("status", "-c", node.config).stdout
        done = json.loads(srnode("jobs", "reject", "1", "--json", "-c", node.config).stdout)
        assert done == [{"job": 1, "outcome": "a rejection note goes to 1 of those who have its results"}]
        assert superseded(node) == []
        wait_until(lambda: len(archive.received) == 3, 30, "the rejection note")
        note = archive.received[2]
        node.fsck()
    assert note.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.59"
    assert note.ConceptNameCodeSequence[0].CodeValue == "113038"
    assert (note.PatientID, note.StudyInstanceUID) == (old.PatientID, old.StudyInstanceUID)
    (study,) = note.CurrentRequestedProcedureEvidenceSequence
    references = [item.ReferencedSOPInstanceUID for item in study.ReferencedSeriesSequence[0].ReferencedSOPSequence]
    assert references == [old.SOPInstanceUID]
    note.save_as(tmp_path / "note.dcm", enforce_file_format=True)
    assert dciodvfy_errors(tmp_path / "note.dcm") - {SYNTHETIC_DATA_WAIVER} == set()


def test_what_was_not_sent_yet_is_not_sent_any_more_and_may_be_dismissed(tmp_path: Path, archive: Archive) -> None:
    node = Node.configure(tmp_path, peers={"ARCHIVE": archive.port})
    archive.rejects = (1, 1, 1)
    with started(node):
        node.storescu(save(image(32), tmp_path / "wrong.dcm"))
        wait_until(lambda: node.store.jobs.counts()[JobState.DONE] == 1, 60, "the first result")
        node.storescu(save(corrected(), tmp_path / "right.dcm"))
        wait_until(lambda: node.store.jobs.counts()[JobState.DONE] == 2, 60, "the second result")
        wait_until(lambda: node.store.deliveries.of_output(1)[0].state == JobState.DEAD, 30, "the end of the first")
        archive.rejects = None
        wait_until(lambda: archive.uids, 30, "the second result")
        assert [ds.PatientID for ds in archive.received] == ["RIGHT"]
        assert "another patient, study or accession" in node.store.deliveries.of_output(1)[0].reason
        refused = srnode("jobs", "reject", "1", "-c", node.config, check=False)
        assert (refused.returncode, "nothing of it was delivered" in refused.stdout) == (1, True)
        srnode("jobs", "retry", "1", "-c", node.config)  # somebody wants it all the same
        wait_until(lambda: len(archive.uids) == 2, 30, "the first result")
        wait_until(lambda: superseded(node), 10, "the problem")
        srnode("jobs", "reject", "1", "--dismiss", "-c", node.config)
        assert superseded(node) == []
