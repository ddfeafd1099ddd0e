"""Backfill from a real Orthanc by C-FIND and C-MOVE."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
)
from support.command import srnode
from support.images import image, save
from support.node import Node
from support.orthanc import Orthanc
from support.tools import free_port, run, started

from dicom_sr_node.deliver.destinations.table import local_entity
from dicom_sr_node.domain.errors import PeerUnreachable
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
            assert len(pulling.find(local_entity(node.settings), peer, pulling.StudyQuery()).series) == many


def test_an_archive_that_does_not_know_this_node_is_told_to_be_taught(tmp_path: Path) -> None:
    with started(Orthanc(tmp_path / "orthanc")) as orthanc:
        node = Node.configure(tmp_path, peers={"ORTHANC": orthanc.port})
        run("storescu", "-R", "-aec", "ORTHANC", "127.0.0.1", str(orthanc.port), save(image(48), tmp_path / "a.dcm"))
        with started(node):
            failed = srnode("pull", "ORTHANC", "-c", node.config, check=False)
        assert failed.returncode == 1
        assert "may SRNODE query there?" in failed.stderr


class Oracle:
    """An archive that answers each C-FIND from a script, and each C-MOVE without sending anything."""

    def __init__(self) -> None:
        self.studies: list[Dataset] = []
        self.series: dict[str, list[Dataset]] = {}
        self.end, self.silent_s = 0x0000, 0.0
        self.asked: list[Dataset] = []
        self.port = free_port()
        self._server: Any = None

    def start(self) -> None:
        ae = AE(ae_title="ORACLE")
        for uid in (StudyRootQueryRetrieveInformationModelFind, StudyRootQueryRetrieveInformationModelMove):
            ae.add_supported_context(uid)
        handlers = [(evt.EVT_C_FIND, self._find), (evt.EVT_C_MOVE, self._move)]
        self._server = ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)

    def stop(self) -> None:
        self._server.shutdown()

    def _find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        self.asked.append(event.identifier)
        time.sleep(self.silent_s)
        is_study = event.identifier.QueryRetrieveLevel == "STUDY"
        for answer in self.studies if is_study else self.series.get(event.identifier.StudyInstanceUID, []):
            yield 0xFF00, answer
        if is_study and self.end:
            yield self.end, None

    def _move(self, event: evt.Event) -> Iterator[Any]:
        yield "127.0.0.1", 1
        yield 0
        yield 0x0000, None


def about(level: str, **elements: object) -> Dataset:
    ds = Dataset()
    ds.QueryRetrieveLevel = level
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


@pytest.fixture
def oracle() -> Iterator[Oracle]:
    with started(Oracle()) as oracle:
        oracle.studies = [about("STUDY", StudyInstanceUID="1.2.1")]
        series = {"Modality": "DX", "NumberOfSeriesRelatedInstances": 4}
        oracle.series = {"1.2.1": [about("SERIES", StudyInstanceUID="1.2.1", SeriesInstanceUID="1.2.1.1", **series)]}
        oracle.series[""] = [about("SERIES", StudyInstanceUID="1.2.9", SeriesInstanceUID="1.2.9.1", **series)]
        yield oracle


def found(folder: Path, oracle: Oracle, more: str = "") -> pulling.Holdings:
    node = Node.configure(folder, peers={"ORACLE": oracle.port})
    if more:
        node.change("retry_first_s = 0.5", f"retry_first_s = 0.5\n{more}")
    return pulling.find(local_entity(node.settings), node.settings.peers["ORACLE"], pulling.StudyQuery())


def test_one_modality_is_asked_for_at_a_time_and_answers_that_come_twice_are_one(
    tmp_path: Path, oracle: Oracle
) -> None:
    oracle.studies *= 2
    oracle.series["1.2.1"] *= 2
    holdings = found(tmp_path, oracle)
    assert [one.series_uid for one in holdings.series] == ["1.2.1.1"]
    studies = [ds for ds in oracle.asked if ds.QueryRetrieveLevel == "STUDY"]
    assert sorted(ds.ModalitiesInStudy for ds in studies) == ["CR", "DX"]
    assert [ds.StudyInstanceUID for ds in oracle.asked if ds.QueryRetrieveLevel == "SERIES"] == ["1.2.1"]


def test_an_answer_without_a_uid_never_asks_for_other_patients(tmp_path: Path, oracle: Oracle) -> None:
    oracle.studies += [about("STUDY", StudyInstanceUID=""), about("STUDY", StudyDate="20200101")]
    oracle.series["1.2.1"].append(about("SERIES", SeriesInstanceUID="", Modality="DX"))
    oracle.series["1.2.1"].append(about("SERIES", StudyInstanceUID="1.2.9", SeriesInstanceUID="1.2.9.1", Modality="DX"))
    holdings = found(tmp_path, oracle)
    assert [one.series_uid for one in holdings.series] == ["1.2.1.1"]
    assert "" not in [ds.StudyInstanceUID for ds in oracle.asked if ds.QueryRetrieveLevel == "SERIES"]
    assert sorted(holdings.notes) == [
        "answers about another study, which were left out: 1",
        "answers without a SeriesInstanceUID, which were left out: 1",
        "answers without a StudyInstanceUID, which were left out: 4",
    ]


@pytest.mark.parametrize("status", [0xFE00, 0xA700])
def test_a_limit_of_the_archive_keeps_what_was_found_and_says_what_to_do(
    tmp_path: Path, oracle: Oracle, status: int
) -> None:
    oracle.end = status
    holdings = found(tmp_path, oracle)
    assert [one.series_uid for one in holdings.series] == ["1.2.1.1"]
    assert "narrow the dates" in holdings.notes[0]


def test_a_silence_is_named_as_ours(tmp_path: Path, oracle: Oracle) -> None:
    oracle.silent_s = 3
    with pytest.raises(PeerUnreachable, match=r"this node waited 1 s for it \(delivery.response_timeout_s\)"):
        found(tmp_path, oracle, "response_timeout_s = 1")


def test_none_of_four_images_that_were_announced_is_a_failure(tmp_path: Path, oracle: Oracle) -> None:
    node = Node.configure(tmp_path, peers={"ORACLE": oracle.port})
    with started(node):
        done = srnode("pull", "ORACLE", "-c", node.config, check=False)
    assert done.returncode == 1
    assert "it announced 4 images, and 0 are here" in done.stdout
