"""Backfill from a real Orthanc by C-FIND and C-MOVE."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import generate_uid
from support.command import srnode
from support.images import image, save
from support.node import Node
from support.orthanc import Orthanc
from support.tools import free_port, run, started

from dicom_sr_node.deliver.destinations.table import local_entity
from dicom_sr_node.domain.records import JobState
from dicom_sr_node.tools import pull as pulling


@pytest.fixture
def both(tmp_path: Path) -> Iterator[tuple[Node, Orthanc]]:
    """An Orthanc with three radiographs in two studies and one image of another kind, and a node that it knows."""
    port = free_port()
    with started(Orthanc(tmp_path / "orthanc", DicomModalities={"NODE": ["SRNODE", "127.0.0.1", port]})) as orthanc:
        node = Node.configure(tmp_path, peers={"ORTHANC": orthanc.port}, port=port)
        images = [image(48, number=1), image(48, number=2), image(48, number=3, study=2)]
        images[2].StudyDate = "20200101"
        other = image(48, number=4, study=3, modality="CR")
        other.Modality = "OT"
        for number, ds in enumerate((*images, other)):
            path = save(ds, tmp_path / f"{number}.dcm")
            run("storescu", "-R", "-aec", "ORTHANC", "127.0.0.1", str(orthanc.port), path)
        with started(node):
            yield node, orthanc


def pull(node: Node, *options: str) -> dict[str, Any]:
    done = srnode("pull", "ORTHANC", "--per-minute", "6000", "--json", *options, "-c", node.config)
    return dict(json.loads(done.stdout))


def test_what_an_archive_has_is_pulled_once_and_its_results_are_not_pulled_back(both: tuple[Node, Orthanc]) -> None:
    node, orthanc = both
    assert pull(node, "--dry-run") == {"found": 2, "missing": 2, "images": 3, "sent": 0, "failed": 0}
    assert node.store.jobs.ls((), 10) == []
    assert pull(node, "--from", "2019-12-31", "--to", "2020-02-01")["sent"] == 1
    node.wait(jobs=1)
    rest = pull(node)
    assert (rest["missing"], rest["images"], rest["failed"]) == (1, 2, 0), rest
    jobs = node.wait(jobs=3)
    assert {job["state"] for job in jobs} == {JobState.DONE}
    assert len(orthanc.instances()) == 4 + 3
    assert pull(node) == {"found": 2, "missing": 0, "images": 0, "sent": 0, "failed": 0}


def test_all_answers_of_an_archive_that_has_many_studies_are_taken(tmp_path: Path) -> None:
    """An archive sends its answers back to back, faster than they are looked at."""
    many = 60
    with started(Orthanc(tmp_path / "orthanc", DicomModalities={"NODE": ["SRNODE", "127.0.0.1", 1]})) as orthanc:
        ds = image(32)
        paths = []
        for number in range(many):
            ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            paths.append(save(ds, tmp_path / f"{number}.dcm"))
        run("storescu", "-R", "-aec", "ORTHANC", "127.0.0.1", str(orthanc.port), *paths)
        node = Node.configure(tmp_path, peers={"ORTHANC": orthanc.port})
        peer = node.settings.peers["ORTHANC"]
        for _ in range(5):
            assert len(pulling.find(local_entity(node.settings), peer, pulling.StudyQuery())) == many


def test_an_archive_that_does_not_know_this_node_is_told_to_be_taught(tmp_path: Path) -> None:
    with started(Orthanc(tmp_path / "orthanc")) as orthanc:
        node = Node.configure(tmp_path, peers={"ORTHANC": orthanc.port})
        run("storescu", "-R", "-aec", "ORTHANC", "127.0.0.1", str(orthanc.port), save(image(48), tmp_path / "a.dcm"))
        with started(node):
            failed = srnode("pull", "ORTHANC", "-c", node.config, check=False)
        assert failed.returncode == 1
        assert "may SRNODE query there?" in failed.stderr
