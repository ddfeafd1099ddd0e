"""No patient in any log, file name or message: proven with names that stand nowhere else (I8)."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.dataelem import DataElement
from pynetdicom import evt
from support.archive import Archive
from support.command import srnode
from support.images import image, save
from support.node import Node
from support.tools import run, started, wait_until

from dicom_sr_node.domain.records import JobState
from dicom_sr_node.runtime import log

SENTINEL = "ZZPHI"
ELEMENTS = (
    "PatientName",
    "PatientID",
    "PatientAddress",
    "AccessionNumber",
    "StudyDescription",
    "SeriesDescription",
    "ReferringPhysicianName",
    "ImageComments",
)
Told = Callable[[], str]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """What was logged so far."""
    written = io.StringIO()
    for module, name in ((sys, "excepthook"), (threading, "excepthook"), (warnings, "showwarning")):
        monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.setattr(logging, "raiseExceptions", True)
    monkeypatch.setattr(sys, "stderr", written)
    handlers, logging.root.handlers = logging.root.handlers, []
    level = logging.root.level
    log.start()
    yield written.getvalue
    logging.root.handlers, logging.root.level = handlers, level


def test_messages_of_others_lose_their_words(told: Told) -> None:
    logging.getLogger("sqlalchemy.engine").error("INSERT %s", f"{SENTINEL}^NAME")
    logging.getLogger("apscheduler").error("failed for %s", SENTINEL, exc_info=ValueError(SENTINEL))
    text = told()
    assert SENTINEL not in text
    assert "message withheld from=test_log.py" in text
    assert "error=ValueError" in text


def test_our_own_exceptions_lose_their_words_and_keep_their_place(told: Told) -> None:
    try:
        raise KeyError(f"{SENTINEL}^NAME")
    except KeyError:
        log.get("test").exception("something failed")
    text = told()
    assert SENTINEL not in text
    assert "something failed error=KeyError at test_log.py:" in text


def test_warnings_say_nothing(told: Told) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = log._warned
        warnings.warn(f"Invalid value for VR PN: {SENTINEL}", stacklevel=1)
    assert SENTINEL not in told()


@pytest.mark.parametrize(
    "code",
    [
        f"from dicom_sr_node.runtime import log; log.start(); raise ValueError('{SENTINEL}')",
        f"from dicom_sr_node import cli; cli.cli = lambda: int('{SENTINEL}'); cli.main()",
    ],
)
def test_an_uncaught_error_tells_its_place_only(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert SENTINEL not in done.stderr
    assert "ended by an error error=ValueError" in done.stderr


def test_a_value_stays_on_its_line(told: Told) -> None:
    log.get("test").warning("caller", extra={"title": "A\r\nroot: all is well"})
    text = told()
    assert text.count("\n") == 1
    assert "A??root" in text


class Gossip(Archive):
    """An archive whose Error Comment names the patient."""

    def _store(self, event: evt.Event) -> Any:
        answer = Dataset()
        answer.Status, answer.ErrorComment = 0xA900, f"{SENTINEL} is not known here"
        return answer


def test_a_whole_journey_leaves_no_patient_outside_the_images(tmp_path: Path) -> None:
    """Sound and damaged images, and an archive that gossips: then every line and name is searched."""
    sound, broken, odd = image(32, number=1), image(32, number=2), image(32, number=3)
    for ds in (sound, broken, odd):
        for keyword in ELEMENTS:
            setattr(ds, keyword, SENTINEL)
    broken.PixelData = broken.PixelData[:100]
    odd["Rows"] = DataElement("Rows", "LO", f"{SENTINEL} rows")
    home = tmp_path / "node"
    home.mkdir()
    with started(Gossip()) as archive:
        node = Node.configure(home, peers={"ARCHIVE": archive.port})
        with started(node):
            for number, ds in enumerate((sound, broken, odd)):
                node.storescu(save(ds, tmp_path / f"{number}.dcm"), check=False)
            wait_until(lambda: node.store.deliveries.counts().get("ARCHIVE", {}).get(JobState.DEAD), 60, "the refusal")
            wait_until(
                lambda: node.store.jobs.counts()[JobState.READY] + node.store.jobs.counts()[JobState.RUNNING] == 0, 60
            )
            for command in ("status", "jobs ls", "fsck", "jobs ls --json", "status --json"):
                done = srnode(*command.split(), "-c", node.config, check=False)
                assert SENTINEL not in done.stdout + done.stderr, command
    assert SENTINEL not in node.log.read_text()
    assert not [path for path in home.rglob("*") if SENTINEL in path.name]
    holding = run("grep", "-rl", SENTINEL, home, check=False).stdout.split()
    allowed = ("/spool/in/", "/spool/outbox/", "/srnode.db")
    assert holding
    assert not [name for name in holding if not any(part in name for part in allowed)]
    assert all(path.stat().st_mode & 0o077 == 0 for path in node.settings.node.spool.rglob("*") if path.is_file())
