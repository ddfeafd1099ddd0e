"""The last look before anything leaves: what is not the source, or not like a radiograph, does not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kit import Archive, Node, image, process, save, set_pixels, srnode, started, upscale
from numpy.typing import NDArray
from pydicom.dataset import FileDataset

from dicom_sr_node.errors import Skipped
from dicom_sr_node.pixels.reader import Reader
from dicom_sr_node.records import Kind, Reason
from dicom_sr_node.routing import EVERYTHING
from dicom_sr_node.verify import verify
from model import checkpoint
from model.upscaler import Upscaler

SEND_ALL = EVERYTHING.model_copy(update={"unusual": "send"})


def noise(size: int = 64) -> FileDataset:
    """What no detector gives: every pixel at random."""
    ds = image()
    set_pixels(ds, np.random.default_rng(3).integers(0, 4096, (size, size), dtype=np.uint16))
    return ds


@pytest.mark.parametrize("scale", [2, 4])
def test_a_radiograph_is_usual_and_its_numbers_are_kept(
    tmp_path: Path, reader: Reader, upscaler: Upscaler, scale: int
) -> None:
    derived = process(save(image(128), tmp_path / "a.dcm"), reader, upscaler, scale=scale)
    assert derived.quality.is_usual
    numbers = derived.quality.numbers
    assert numbers["wrong_blocks"] == 0
    assert abs(numbers["score"]) < 0.5
    assert 0.001 < numbers["added_share"] < 0.05
    assert numbers["usual_share"] == tuple(upscaler.card.usual_detail[str(scale)])


def test_a_result_unlike_any_radiograph_is_skipped_with_its_numbers(
    tmp_path: Path, reader: Reader, upscaler: Upscaler
) -> None:
    with pytest.raises(Skipped, match=r"quality: added detail is 1\d\.\d\d % of the image's contrast") as caught:
        process(save(noise(), tmp_path / "noise.dcm"), reader, upscaler)
    assert caught.value.reason is Reason.QUALITY
    assert caught.value.quality is not None
    assert caught.value.quality["score"] > 1  # type: ignore[operator]


def test_a_rule_may_send_it_all_the_same_and_it_says_so(tmp_path: Path, reader: Reader, upscaler: Upscaler) -> None:
    source, target = save(noise(), tmp_path / "noise.dcm"), tmp_path / "derived.dcm"
    derived = upscale(source, target, reader, upscaler, rules=(SEND_ALL,))
    assert "UNUSUAL RESULT: added detail is" in derived.ImageComments
    assert [check.name for check in verify(target, source, reader) if not check.passed] == []


@pytest.mark.parametrize("value", [0, 1000, 4095])
def test_a_flat_image_is_no_reason(tmp_path: Path, reader: Reader, upscaler: Upscaler, value: int) -> None:
    ds = image()
    set_pixels(ds, np.full((64, 64), value, np.uint16))
    assert process(save(ds, tmp_path / "flat.dcm"), reader, upscaler).quality.detail.rms == 0


def test_weights_without_a_known_range_are_not_held_against_one(
    tmp_path: Path, reader: Reader, upscaler: Upscaler
) -> None:
    generator, card = checkpoint.load(checkpoint.find("cxr-x4-lite"))
    unknown = Upscaler(generator, replace(card, usual_detail={}), torch.device("cpu"))
    derived = process(save(noise(), tmp_path / "noise.dcm"), reader, unknown)
    assert derived.quality.score is None
    assert "no usual range is known" in derived.quality.told


def test_a_generator_that_answers_no_numbers_makes_nothing(tmp_path: Path, reader: Reader) -> None:
    generator, card = checkpoint.load(checkpoint.find("cxr-x4-lite"))
    with torch.no_grad():
        next(generator.parameters()).fill_(float("nan"))
    broken = Upscaler(generator, card, torch.device("cpu"))
    with pytest.raises(Skipped, match=r"quality: .* not finite"):
        process(save(image(), tmp_path / "a.dcm"), reader, broken, rules=(SEND_ALL,))


def test_one_wrong_pixel_keeps_a_result_in_whatever_the_rule_says(
    tmp_path: Path, reader: Reader, upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Upscaler.upscale

    def wrong(self: Upscaler, *arguments: Any, **more: Any) -> NDArray[Any]:
        result = right(self, *arguments, **more)
        result[100, 100] ^= 1
        return result

    monkeypatch.setattr(Upscaler, "upscale", wrong)
    with pytest.raises(Skipped, match="quality: 1 blocks do not average to the source's stored value"):
        process(save(image(), tmp_path / "a.dcm"), reader, upscaler, rules=(SEND_ALL,))


def test_the_node_tells_the_numbers_of_what_it_sent_and_of_what_it_kept(
    node: Node, archive: Archive, tmp_path: Path
) -> None:
    node.storescu(save(image(), tmp_path / "good.dcm"), save(with_uid(noise()), tmp_path / "noise.dcm"))
    jobs = {job["state"]: job for job in node.wait(jobs=2)}
    assert set(jobs) == {"done", "skipped"}
    assert len(archive.uids) == 1
    status = json.loads(srnode("status", "--json", "-c", node.config).stdout)
    assert status["skipped"] == {Reason.QUALITY: 1}
    for state, usual in (("done", True), ("skipped", False)):
        shown = json.loads(srnode("jobs", "show", str(jobs[state]["id"]), "--json", "-c", node.config).stdout)
        assert (shown["quality"]["score"] <= 1) is usual


def with_uid(ds: FileDataset) -> FileDataset:
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    return ds


def test_with_the_switches_on_a_heat_map_and_a_report_go_along(tmp_path: Path, archive: Archive) -> None:
    more = "[derive]\nheat_map = true\nreport = true"
    with started(Node.configure(tmp_path, peers={"ARCHIVE": archive.port}, more=more)) as node:
        node.storescu(save(image(), tmp_path / "a.dcm"))
        node.wait(jobs=1)
        outputs = node.store.outputs.of_job(1)
    assert [output.kind for output in outputs] == [Kind.IMAGE, Kind.HEAT_MAP, Kind.REPORT]
    assert sorted(archive.uids) == sorted(output.sop_instance_uid for output in outputs)
    assert len({ds.SeriesInstanceUID for ds in archive.received}) == 3
