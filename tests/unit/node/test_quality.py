"""The last look before anything leaves: what is not the source, or not like a radiograph, does not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import UID
from support.archive import Archive
from support.command import srnode
from support.images import image, process, save, set_pixels, upscale
from support.node import Node
from support.tools import started

from dicom_sr_node.domain.errors import Skipped
from dicom_sr_node.domain.records import OutputKind, SkipReason
from dicom_sr_node.pixels.sandbox import DecoderProcess
from dicom_sr_node.rules.routing import EVERYTHING
from dicom_sr_node.verify.verification import verify
from model import checkpoint
from model.torch_backend import TorchBackend
from model.upscaler import Upscaler

SEND_ALL = EVERYTHING.model_copy(update={"unusual": "send"})


def noise(size: int = 64) -> FileDataset:
    """What no detector gives: every pixel at random."""
    ds = image()
    set_pixels(ds, np.random.default_rng(3).integers(0, 4096, (size, size), dtype=np.uint16))
    return ds


@pytest.mark.parametrize("scale", [2, 4])
def test_a_radiograph_is_usual_and_its_numbers_are_kept(
    tmp_path: Path, reader: DecoderProcess, upscaler: Upscaler, scale: int
) -> None:
    derived = process(save(image(128), tmp_path / "a.dcm"), reader, upscaler, scale=scale)
    assert derived.quality.is_usual
    numbers = derived.quality.numbers
    assert numbers["wrong_blocks"] == 0
    assert abs(numbers["score"]) < 0.5
    assert 0.0005 < numbers["added_share"] < 0.05
    levels = upscaler.card.usual_detail[str(scale)]
    assert numbers["usual_share"] == next(tuple(r) for n, *r in levels if numbers["noise_share"] <= n)


def generators_of(upscaler: Upscaler) -> Any:
    """Its generators by scale."""
    assert isinstance(upscaler._backend, TorchBackend)
    return upscaler._backend._generators


def test_a_result_unlike_any_radiograph_is_skipped_with_its_numbers(
    tmp_path: Path, reader: DecoderProcess, upscaler: Upscaler
) -> None:
    with pytest.raises(Skipped, match=r"and its noise of \d\d\.\d % is above all that was validated") as caught:
        process(save(noise(), tmp_path / "noise.dcm"), reader, upscaler)
    assert caught.value.reason is SkipReason.QUALITY
    assert caught.value.quality is not None
    assert caught.value.quality["noise_share"] > 0.12  # type: ignore[operator]


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("deviation", [0, 40, 120])
def test_noise_alone_makes_no_radiograph_unusual(
    tmp_path: Path, reader: DecoderProcess, upscaler: Upscaler, scale: int, deviation: float
) -> None:
    ds = image(128)
    noisy = ds.pixel_array + np.random.default_rng(1).normal(0, deviation, ds.pixel_array.shape)
    set_pixels(ds, noisy.round().clip(0, 4095).astype(np.uint16))
    quality = process(save(ds, tmp_path / "a.dcm"), reader, upscaler, scale=scale).quality
    assert quality.is_usual, quality.sentence


@pytest.mark.parametrize("scale", [2, 4])
def test_a_generator_that_adds_more_than_usual_at_this_noise_is_seen(
    tmp_path: Path, reader: DecoderProcess, upscaler: Upscaler, scale: int
) -> None:
    """The most of all levels would hide it where a clean image usually gets little."""
    levels = [[level, least / 40, most / 40] for level, least, most in upscaler.card.usual_detail[str(scale)]]
    card = replace(upscaler.card, usual_detail={str(scale): [(level[0], level[1], level[2]) for level in levels]})
    strict = Upscaler(TorchBackend(generators_of(upscaler), torch.device("cpu")), card)
    with pytest.raises(Skipped, match=r"at this noise \d\.\d\d to \d\.\d\d % in validation"):
        process(save(image(128), tmp_path / "a.dcm"), reader, strict, scale=scale)


def test_a_rule_may_send_it_all_the_same_and_it_says_so(
    tmp_path: Path, reader: DecoderProcess, upscaler: Upscaler
) -> None:
    source, target = save(noise(), tmp_path / "noise.dcm"), tmp_path / "derived.dcm"
    derived = upscale(source, target, reader, upscaler, rules=(SEND_ALL,))
    assert "UNUSUAL RESULT: added detail is" in derived.ImageComments
    assert [check.name for check in verify(target, source, reader) if not check.passed] == []


@pytest.mark.parametrize("value", [0, 1000, 4095])
def test_a_flat_image_is_no_reason(tmp_path: Path, reader: DecoderProcess, upscaler: Upscaler, value: int) -> None:
    ds = image()
    set_pixels(ds, np.full((64, 64), value, np.uint16))
    assert process(save(ds, tmp_path / "flat.dcm"), reader, upscaler).quality.detail.rms == 0


def test_weights_without_a_known_range_are_not_held_against_one(
    tmp_path: Path, reader: DecoderProcess, upscaler: Upscaler
) -> None:
    generators, card = checkpoint.load(checkpoint.find("xr-lite"))
    unknown = Upscaler(TorchBackend(generators, torch.device("cpu")), replace(card, usual_detail={}))
    derived = process(save(noise(), tmp_path / "noise.dcm"), reader, unknown)
    assert derived.quality.score is None
    assert "no usual range is known" in derived.quality.sentence


def test_a_generator_that_answers_no_numbers_makes_nothing(tmp_path: Path, reader: DecoderProcess) -> None:
    generators, card = checkpoint.load(checkpoint.find("xr-lite"))
    for generator in generators.values():
        next(generator.parameters()).detach().fill_(float("nan"))
    broken = Upscaler(TorchBackend(generators, torch.device("cpu")), card)
    with pytest.raises(Skipped, match=r"quality: .* not finite"):
        process(save(image(), tmp_path / "a.dcm"), reader, broken, rules=(SEND_ALL,))


def test_one_wrong_pixel_keeps_a_result_in_whatever_the_rule_says(
    tmp_path: Path, reader: DecoderProcess, upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
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
    assert status["skipped"] == {SkipReason.QUALITY: 1}
    for state, usual in (("done", True), ("skipped", False)):
        shown = json.loads(srnode("jobs", "show", str(jobs[state]["id"]), "--json", "-c", node.config).stdout)
        assert (shown["quality"]["noise_share"] < 0.12) is usual


def with_uid(ds: FileDataset) -> FileDataset:
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3.4")
    return ds


def test_with_the_switches_on_a_heat_map_and_a_report_go_along(tmp_path: Path, archive: Archive) -> None:
    more = "[derive]\nheat_map = true\nreport = true"
    with started(Node.configure(tmp_path, peers={"ARCHIVE": archive.port}, more=more)) as node:
        node.storescu(save(image(), tmp_path / "a.dcm"))
        node.wait(jobs=1)
        outputs = node.store.outputs.of_job(1)
    assert [output.kind for output in outputs] == [OutputKind.IMAGE, OutputKind.HEAT_MAP, OutputKind.REPORT]
    assert sorted(archive.uids) == sorted(output.sop_instance_uid for output in outputs)
    assert len({ds.SeriesInstanceUID for ds in archive.received}) == 3


def test_weights_that_are_not_proven_are_refused_or_say_so(
    tmp_path: Path, reader: DecoderProcess, upscaler: Upscaler
) -> None:
    """The same weights, whose card holds no result of the physics suite."""
    weights = tmp_path / "mine.safetensors"
    shipped = checkpoint.find("xr-lite")
    weights.write_bytes(shipped.read_bytes())
    card = json.loads(shipped.with_suffix(".json").read_text())
    del card["physics"]
    weights.with_suffix(".json").write_text(json.dumps(card))
    source, target = save(image(), tmp_path / "a.dcm"), tmp_path / "out" / "a.dcm"
    command = ("upscale", str(source), "-o", str(target.parent), "--model", str(weights))
    refused = srnode(*command, check=False)
    assert refused.returncode == 1
    assert "is not served: its card holds no result of the physics suite" in refused.stderr
    assert "model.unproven = true" in refused.stderr
    assert not target.exists()
    config = tmp_path / "node.toml"
    config.write_text("[model]\nunproven = true\n[derive]\nheat_map = true\nreport = true\n")
    srnode("-c", str(config), *command)
    written = [dcmread(path) for path in sorted(target.parent.glob("*.dcm"))]
    assert len(written) == 3
    for ds in written:
        said = [str(element.value) for element in ds.iterall() if element.VR != "SQ"]
        assert any("UNPROVEN WEIGHTS: its card holds no result of the physics suite" in text for text in said)
    assert [check.name for check in verify(target, source, reader) if not check.passed] == []


def test_qa_proves_weights_and_fails_those_that_invent(tmp_path: Path) -> None:
    generators, card = checkpoint.load(checkpoint.find("xr-lite"))
    torch.manual_seed(0)
    last = [layer for layer in generators[2].modules() if isinstance(layer, torch.nn.Conv2d)][-1]
    last.weight.data += 0.05 * torch.randn_like(last.weight)
    fields = {
        key: value for key, value in vars(card).items() if key not in ("sha256", "family", "architecture", "scales")
    }
    weights = tmp_path / "altered.safetensors"
    checkpoint.save(weights, generators, **fields)
    assert "on other weights" in checkpoint.read_card(weights).unproven  # the card still tells of the shipped ones
    found = srnode("models", "qa", str(weights), "--device", "cpu", "--json", "--write", check=False)
    assert found.returncode == 1
    told = json.loads(found.stdout)
    assert (told["passed"], told["sha256"]) == (False, checkpoint.read_card(weights).sha256)
    failed = {row["test"] for row in told["x2"]["rows"] if not row["passed"]}
    assert "flat noise: deviation over consistent" in failed
    assert all(row["passed"] for row in told["x4"]["rows"])
    assert "it misses limits of the physics suite" in checkpoint.read_card(weights).unproven
