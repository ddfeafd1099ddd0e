"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from support.archive import Archive
from support.node import Node
from support.orthanc import Orthanc
from support.postgres import Postgres
from support.tools import started

from dicom_sr_node.config.working import WorkSettings
from dicom_sr_node.dicom import validation
from dicom_sr_node.pixels.sandbox import DecoderProcess
from model.upscaler import Upscaler


@pytest.fixture(scope="session", autouse=True)
def _accept_faults_of_others() -> None:
    validation.relax_validation()


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("SRNODE"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def upscaler() -> Upscaler:
    """The shipped lite weights, the same on every CPU."""
    torch.set_num_threads(1)
    return Upscaler.load("xr-lite", "cpu", "float32")


@pytest.fixture(scope="session")
def reader() -> Iterator[DecoderProcess]:
    """The process that decodes."""
    with DecoderProcess(WorkSettings()) as reader:
        yield reader


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for all tests that want a database of their own."""
    with started(Postgres()) as postgres:
        yield postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The same test on both databases."""
    return "" if request.param == "sqlite" else request.getfixturevalue("postgres").url()


@pytest.fixture
def archive() -> Iterator[Archive]:
    with started(Archive()) as archive:
        yield archive


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[Orthanc]:
    with started(Orthanc(tmp_path / "orthanc")) as orthanc:
        yield orthanc


@pytest.fixture
def node(tmp_path: Path, archive: Archive) -> Iterator[Node]:
    """A running node that delivers to the scripted archive."""
    with started(Node.configure(tmp_path, peers={"ARCHIVE": archive.port})) as node:
        yield node
