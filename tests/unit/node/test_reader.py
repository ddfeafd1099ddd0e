"""The process that reads files of others: whatever they are like, they cost it at most, and the next is served."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom.datadict import dictionary_VR
from pydicom.uid import DeflatedExplicitVRLittleEndian
from support import faults
from support.hostile import COSTLY, claiming, mutated, siz, with_data_set
from support.images import image, save

from dicom_sr_node.config.working import ModelSettings, WorkSettings
from dicom_sr_node.dicom import header
from dicom_sr_node.domain.errors import DecoderDied, OurFault, Skipped, Undecodable, Unreadable
from dicom_sr_node.domain.records import Origin, SkipReason
from dicom_sr_node.pixels.sandbox import DecoderProcess
from dicom_sr_node.rules import plan
from dicom_sr_node.rules.plan import Plan, PlanRequest

ADMISSION = PlanRequest((), ModelSettings(), "none", {"": (4, 2)})


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return save(image(), tmp_path / "good.dcm")


@pytest.fixture
def fresh() -> Iterator[DecoderProcess]:
    with DecoderProcess(WorkSettings(decode_limit_s=1, decode_memory_mb=512)) as reader:
        yield reader


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
def test_a_crash_of_the_decoder_is_the_fault_of_the_image(fresh: DecoderProcess, good: Path, number: int) -> None:
    with pytest.raises(Undecodable, match="the decoder crashed"):
        fresh.ask(faults.end_by, number)
    assert isinstance(fresh.ask(plan.make, good, ADMISSION, Origin()), Plan)


def test_endless_decoding_is_ended_by_its_computing_time(fresh: DecoderProcess, good: Path) -> None:
    with pytest.raises(Undecodable, match=r"took too long \(work.decode_limit_s\)"):
        fresh.ask(faults.compute_for_ever)
    assert isinstance(fresh.ask(plan.make, good, ADMISSION, Origin()), Plan)


def test_memory_is_limited(fresh: DecoderProcess, good: Path) -> None:
    with pytest.raises(Undecodable, match="more than 512 MB"):
        fresh.ask(faults.take_memory)
    assert isinstance(fresh.ask(plan.make, good, ADMISSION, Origin()), Plan)


def test_a_process_that_keeps_much_memory_is_replaced(fresh: DecoderProcess, good: Path) -> None:
    assert isinstance(fresh.ask(plan.make, good, ADMISSION, Origin()), Plan)
    assert fresh._process is not None
    fresh.ask(faults.hold_memory)
    assert fresh._process is None
    assert isinstance(fresh.ask(plan.make, good, ADMISSION, Origin()), Plan)


def test_waiting_without_computing_is_ended_and_may_be_tried_again(good: Path) -> None:
    with DecoderProcess(WorkSettings(decode_limit_s=0.2)) as reader:
        with pytest.raises(DecoderDied, match="no answer within") as caught:
            reader.ask(time.sleep, 60)
        assert caught.value.retryable
        assert isinstance(reader.ask(plan.make, good, ADMISSION, Origin()), Plan)


def test_a_kill_from_outside_is_no_fault_of_the_image(fresh: DecoderProcess, good: Path) -> None:
    with pytest.raises(DecoderDied):
        fresh.ask(faults.end_by, signal.SIGKILL)
    assert isinstance(fresh.ask(plan.make, good, ADMISSION, Origin()), Plan)


def test_whatever_a_library_raises_is_one_clear_failure_of_the_image(fresh: DecoderProcess) -> None:
    with pytest.raises(Undecodable, match="the image cannot be read: KeyError"):
        fresh.ask(dictionary_VR, 0x99999999)


def test_a_fault_of_ours_is_told_as_ours_with_its_place(fresh: DecoderProcess) -> None:
    with pytest.raises(OurFault, match=r"LookupError at faults\.py:\d+"):
        fresh.ask(faults.raise_a_surprise)


def test_what_it_reads_is_what_decode_gives(reader: DecoderProcess, good: Path) -> None:
    admitted = reader.ask(plan.make, good, ADMISSION, Origin())
    assert ([planned.scale for planned in admitted.outputs], admitted.rule.name) == ([4], "default")
    assert np.array_equal(admitted.frame.values, header.read(good).pixel_array)
    assert np.array_equal(reader.frame(good).values, admitted.frame.values)


def test_a_codestream_that_claims_to_be_huge_costs_nothing(reader: DecoderProcess, tmp_path: Path) -> None:
    bomb = siz(65535, 65535)
    assert len(bomb) == 610
    honest = save(claiming(bomb, 65535, 65535), tmp_path / "honest.dcm")
    with pytest.raises(Skipped) as caught:
        reader.ask(plan.make, honest, ADMISSION, Origin())
    assert caught.value.reason is SkipReason.TOO_LARGE
    lying = save(claiming(bomb, 64, 64), tmp_path / "lying.dcm")
    with pytest.raises(Undecodable, match="the codestream is 65535x65535 with 1 component"):
        reader.ask(plan.make, lying, ADMISSION, Origin())
    within = save(claiming(siz(3000, 3000), 3000, 3000), tmp_path / "within.dcm")
    with pytest.raises(Undecodable):
        reader.ask(plan.make, within, ADMISSION, Origin())


def test_a_file_far_larger_than_its_image_is_not_even_read(reader: DecoderProcess, good: Path) -> None:
    with good.open("ab") as file:
        file.truncate(1 << 30)
    with pytest.raises(Skipped, match="too large: the file has 1024 MiB") as caught:
        reader.ask(plan.make, good, ADMISSION, Origin())
    assert caught.value.reason is SkipReason.TOO_LARGE


def test_a_deflated_file_that_inflates_without_bound_is_ended(fresh: DecoderProcess, tmp_path: Path) -> None:
    ds = image()
    ds.PixelData = b"\0" * (600 << 20)  # the limit is 512 MB
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    bomb = save(ds, tmp_path / "bomb.dcm")
    assert bomb.stat().st_size < 2 << 20
    with pytest.raises(Undecodable, match=r"more than 512 MB|took too long"):
        fresh.ask(plan.make, bomb, ADMISSION, Origin())


@pytest.mark.parametrize("content", COSTLY.values(), ids=COSTLY)
def test_a_header_made_to_cost_ends_with_a_reason(
    reader: DecoderProcess, good: Path, tmp_path: Path, content: bytes
) -> None:
    path = with_data_set(tmp_path / "hostile.dcm", content)
    with pytest.raises((Unreadable, Undecodable)):
        reader.ask(plan.make, path, ADMISSION, Origin())
    with pytest.raises(Unreadable):
        header.read_identity(path)  # which the receiver does by itself
    assert isinstance(reader.ask(plan.make, good, ADMISSION, Origin()), Plan)


def test_six_hundred_damaged_files_each_end_with_a_reason(reader: DecoderProcess, good: Path, tmp_path: Path) -> None:
    path, ends = tmp_path / "damaged.dcm", dict[str, int]()
    for content in mutated(tmp_path, each=60, seed=4):
        path.write_bytes(content)
        try:
            reader.ask(plan.make, path, ADMISSION, Origin())
            end = "Admitted"
        except (Skipped, Unreadable, Undecodable) as error:
            end = type(error).__name__
        ends[end] = ends.get(end, 0) + 1
    assert set(ends) == {"Admitted", "Skipped", "Unreadable", "Undecodable"}, ends
    assert isinstance(reader.ask(plan.make, good, ADMISSION, Origin()), Plan)
