"""Measuring: known answers, every method, paired differences, the extremes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.training import same, state, train

from dicom_sr_node.tools import phantom
from model import checkpoint
from model.interpolation import bicubic
from training import baselines, evaluate, evaluation_set, export, metrics
from training.evaluation_set import Question


def chest(size: int = 64) -> np.ndarray:
    return (phantom.draw(size) >> 4).astype(np.uint8)


def test_metrics_on_known_answers() -> None:
    reference = chest()
    assert metrics.psnr(reference, reference) == 100
    assert metrics.psnr(reference + np.ptp(reference).astype(int), reference) == pytest.approx(0)
    assert metrics.psnr(reference + np.ptp(reference) / 10, reference) == pytest.approx(20)
    assert metrics.ssim(reference, reference) == pytest.approx(1)
    assert metrics.gmsd(reference, reference) == pytest.approx(0, abs=1e-7)
    noisy = np.clip(reference + np.random.default_rng(0).normal(0, 20, reference.shape), 0, 255)
    assert metrics.ssim(noisy, reference) < 0.9
    assert metrics.gmsd(noisy, reference) > 0.02


def test_all_is_relative_to_the_image_s_own_range() -> None:
    """The same radiograph in a deeper container, or with less contrast, measures the same."""
    reference = chest().astype(float)
    worse = np.clip(reference + np.random.default_rng(0).normal(0, 5, reference.shape), 0, 255)
    shallow, deep = metrics.quality(worse, reference), metrics.quality(worse * 16, reference * 16)
    assert shallow == pytest.approx(deep, rel=1e-3)
    with pytest.raises(ValueError, match="constant"):
        metrics.quality(worse, np.full_like(reference, 7))


def test_the_spectrum_tells_blur_and_grain_alike() -> None:
    reference = np.random.default_rng(0).normal(100, 10, (64, 64))
    blurred = (reference + np.roll(reference, 1, axis=1)) / 2
    assert metrics.spectrum(reference, reference) == pytest.approx(0, abs=1e-6)
    assert metrics.spectrum(blurred, reference) > 1
    assert metrics.spectrum(100 + 2 * (reference - 100), reference) == pytest.approx(20 * np.log10(2), abs=0.01)


def test_detail_is_a_share_of_the_reference() -> None:
    image = np.random.default_rng(0).normal(100, 10, (64, 64))
    assert metrics.detail(image, image) == pytest.approx(1)
    assert metrics.detail(100 + 0.5 * (image - 100), image) == pytest.approx(0.5)


def test_the_consistency_error_is_the_worst_block() -> None:
    low = np.array([[10, 20]], dtype=np.uint8)
    high = np.kron(low, np.ones((4, 4), dtype=np.uint8))
    assert metrics.consistency_error(high, low) == 0
    high[0, 5] += 8
    assert metrics.consistency_error(high, low) == pytest.approx(0.5)


def test_shaving_leaves_out_the_border() -> None:
    image = np.zeros((16, 16), np.uint8)
    image[:4] = 255
    assert not metrics.shaved(image).any()
    assert metrics.shaved(image).shape == (8, 8)


def test_the_interval_covers_the_mean_and_resamples_patients() -> None:
    random = np.random.default_rng(0)
    gains = random.normal(2, 0.5, 200)
    low, high = metrics.interval(gains.tolist(), [str(n) for n in range(200)])
    assert low < gains.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(200), rel=0.2)
    few = metrics.interval(gains.tolist(), [str(n // 20) for n in range(200)])
    same = metrics.interval(np.repeat(gains[:10], 20).tolist(), [str(n // 20) for n in range(200)])
    assert same[1] - same[0] > 2 * (few[1] - few[0])  # twenty copies of one patient are one patient


def test_bicubic_is_pillow_s() -> None:
    low = chest(32)
    ours = bicubic(torch.from_numpy(low)[None, None].float(), 4)[0, 0].clamp(0, 255).round().numpy()
    assert np.abs(ours - baselines.by_filter("bicubic")(low, 4, 255)).max() <= 1


def test_back_projection_returns_to_the_source() -> None:
    low = chest(32)
    errors = {
        name: metrics.consistency_error(baselines.CLASSICAL[name](low, 4, 255), low) for name in baselines.CLASSICAL
    }
    assert errors["nearest"] == 0
    assert errors["back-projection"] < 0.3 * errors["bicubic"]
    assert errors["consistent"] <= errors["back-projection"]


def test_the_low_image_is_what_the_name_says() -> None:
    high = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert evaluation_set.low_of(high, Question(), 255).flatten().tolist() == [14, 18, 46, 50]
    assert evaluation_set.low_of(high, Question(scale=2), 255).shape == (4, 4)
    small = np.asarray(Image.fromarray(chest()).resize((16, 16), Image.Resampling.BICUBIC))
    assert np.abs(evaluation_set.low_of(chest(), Question(low="bicubic"), 255).astype(int) - small).max() <= 1


def test_variants_and_protocols_are_what_they_are_called(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(chest(600)[:, :400]).save(path)
    plain = {protocol: evaluation_set.case(path, Question(protocol, 2)) for protocol in evaluation_set.PROTOCOLS}
    assert {protocol: case.high.shape for protocol, case in plain.items()} == {
        "whole": (256, 256),
        "fit": (384, 256),
        "native": (512, 400),
    }
    fit = plain["fit"]
    turned, mirrored, noisy = (
        evaluation_set.case(path, Question("fit", 2, variant)) for variant in evaluation_set.VARIANTS[1:]
    )
    assert np.array_equal(turned.high, np.rot90(fit.high))
    assert np.array_equal(turned.low, np.rot90(fit.low))
    assert np.array_equal(mirrored.low, fit.low[:, ::-1])
    assert np.array_equal(noisy.high, fit.high)  # what is wanted is the image without the noise
    assert 0.5 < (noisy.low.astype(int) - fit.low).std() < 0.06 * 255


def test_a_constant_image_is_left_out_and_told(tmp_path: Path) -> None:
    path = tmp_path / "flat.png"
    Image.new("L", (300, 300), 7).save(path)
    with pytest.raises(ValueError, match="it is constant"):
        evaluation_set.case(path, Question())


@pytest.mark.parametrize("protocol", ["seed", "native"])
def test_evaluation_measures_every_method_and_draws_the_extremes(
    config_file: Path, images: Path, tmp_path: Path, protocol: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "evaluation"
    (images / "broken.png").write_bytes(b"no picture")
    Image.new("L", (20, 30)).save(images / "tiny.png")
    Image.new("L", (80, 80), 9).save(images / "flat.png")
    tiny = train(config_file).folder / "checkpoints" / "best-content" / "tiny.safetensors"
    weights = ["xr-lite", str(tiny)]
    arguments = ["--weights", *weights, "--data", str(images), "--protocol", protocol, "--device", "cpu"]
    assert evaluate.main([*arguments, "--scale", "4", "2", "--workers", "2", "-o", str(out)]) == 0
    content = json.loads((out / "evaluation.json").read_text())
    result, double = content["tables"]
    assert {weight["sha256"] for weight in content["weights"].values()} == {
        checkpoint.read_card(checkpoint.find(name)).sha256 for name in weights
    }
    assert (result["scale"], double["scale"], result["protocol"]) == (
        4,
        2,
        "native" if protocol == "native" else "whole",
    )
    assert "tiny" not in double["methods"]  # it has no network for x2, and x4 is no substitute
    assert (result["images"], result["patients"]) == (12, 6)
    assert len(result["each"]) == result["images"]
    everyone = {"nearest", "bilinear", "bicubic", "lanczos", "back-projection", "consistent", "xr-lite", "tiny"}
    assert set(result["methods"]) == everyone
    assert result["methods"]["xr-lite"]["consistency_error"] == 0
    assert set(result["differences"]["tiny"]) == everyone - {"tiny"}
    for other in everyone - {"xr-lite"}:
        mine = np.array([image["xr-lite"]["psnr"] - image[other]["psnr"] for image in result["each"]])
        difference = result["differences"]["xr-lite"][other]
        assert difference["psnr"] == pytest.approx(mine.mean())
        assert difference["interval"][0] <= difference["psnr"] <= difference["interval"][1]
        assert (difference["better"], difference["worst"]) == pytest.approx(((mine > 0).mean(), mine.min()))
    best = [max(image[name]["psnr"] for name in baselines.CLASSICAL) for image in result["each"]]
    above = np.mean([image["xr-lite"]["psnr"] > limit for image, limit in zip(result["each"], best, strict=True)])
    assert result["above_each_classical"]["xr-lite"] == pytest.approx(above)
    assert result["sources"]["kermany"]["images"] == 12
    table = (out / "evaluation.md").read_text()
    shown = capsys.readouterr()
    for method in everyone:
        assert f"| {method} |" in table
        assert method in shown.out
    assert "broken.png: skipped" in shown.err
    assert "flat.png: skipped, it is constant" in shown.err
    assert ("tiny.png: skipped, 20x28 pixels are too few" if protocol == "native" else "tiny.png: skipped") in shown.err
    with Image.open(out / "panel.png") as panel:
        assert panel.size[1] > 1000


def test_evaluation_of_nothing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main(["--weights", "xr-lite", "--data", str(tmp_path)]) == 1
    assert "no image" in capsys.readouterr().err
    assert evaluate.main(["--weights", "nonsense", "--data", str(tmp_path)]) == 1
    assert "no weights 'nonsense'" in capsys.readouterr().err


def test_exported_weights_say_where_they_come_from(config_file: Path, tmp_path: Path) -> None:
    run = train(config_file, "every.checkpoint=2", 'weaknesses=["tiny"]')
    target = tmp_path / "tiny.safetensors"
    assert export.main([str(run.folder), "-o", str(target)]) == 0
    card = checkpoint.load(target)[1]
    made = card.training["x4"]
    assert (card.name, made["steps_done"], card.weaknesses, card.scales) == ("tiny", 6, ["tiny"], (4,))
    assert (card.metrics, card.physics) == ({}, {})  # nothing was measured yet
    assert [line["step"] for line in made["history"]] == [1, 2, 3, 4, 5, 6]
    assert str(tmp_path) not in (tmp_path / "tiny.json").read_text()  # no path of this machine
    assert export.main([str(run.folder), "-o", str(target), "--checkpoint", "step-000002"]) == 0
    assert checkpoint.load(target)[1].training["x4"]["steps_done"] == 2


def test_runs_of_both_scales_share_a_file(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fourfold, double = train(config_file, "name=a"), train(config_file, "name=b", "generator.scale=2")
    target = tmp_path / "both.safetensors"
    assert export.main([str(double.folder), str(fourfold.folder), "-o", str(target)]) == 0
    generators, card = checkpoint.load(target)
    assert (card.name, card.scales, set(card.training)) == ("both", (4, 2), {"x4", "x2"})
    for run, scale in ((fourfold, 4), (double, 2)):
        assert same(generators[scale].state_dict(), state(run)["average"])
    wider = train(config_file, "name=c", "generator.scale=2", "generator.width=9")
    assert export.main([str(fourfold.folder), str(wider.folder), "-o", str(target)]) == 1
    assert "trained another generator" in capsys.readouterr().err
    assert export.main([str(fourfold.folder), str(fourfold.folder), "-o", str(target)]) == 1
    assert "two of the runs are of one scale" in capsys.readouterr().err


def test_weights_can_be_a_blend_and_the_card_says_so(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, after, blended = (tmp_path / f"{name}.safetensors" for name in ("base", "after", "blended"))
    assert export.main([str(train(config_file, "name=base").folder), "-o", str(base)]) == 0
    run = str(train(config_file, "name=after", f"start.weights={base}").folder)
    assert export.main([run, "-o", str(after)]) == 0
    first, last = (checkpoint.load(path)[0][4].state_dict() for path in (base, after))
    name = "trunk.1.weight"
    for change, expected in (
        (f"onto={base},share=0.25", first[name] + 0.25 * (last[name] - first[name])),
        (f"mix={base},mixed=0.25", last[name] + 0.25 * (first[name] - last[name])),
        ("last_layer=0.5", last[name]),
    ):
        assert export.main([run, "-o", str(blended), "--blend", f"x4:{change}"]) == 0
        generators, card = checkpoint.load(blended)
        assert torch.allclose(generators[4].state_dict()[name], expected, atol=1e-6)
        told = card.training["x4"]["blend"]
        assert set(told) == {pair.split("=")[0] for pair in change.split(",")}
    assert torch.allclose(generators[4].state_dict()["tail.0.weight"], last["tail.0.weight"] / 2)
    assert export.main([run, "-o", str(blended), "--blend", "x4:nonsense=1"]) == 1
    assert "expected x4:KEY=VALUE,... with the keys onto, share, mix, mixed, last_layer" in capsys.readouterr().err


def test_the_last_checkpoint_is_the_one_of_the_highest_step(config_file: Path, tmp_path: Path) -> None:
    run = train(config_file, "every.checkpoint=2")
    checkpoints = run.folder / "checkpoints"
    shutil.copytree(checkpoints / "step-000002", checkpoints / "step-000006.old")  # a kill has left it
    (checkpoints / "step-000004").rename(checkpoints / "step-1000004")
    target = tmp_path / "tiny.safetensors"
    assert export.main([str(run.folder), "-o", str(target)]) == 0
    assert checkpoint.load(target)[1].training["x4"]["steps_done"] == 4


def test_a_checkpoint_that_is_not_there_is_named(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(config_file)
    assert export.main([str(run.folder), "-o", str(tmp_path / "x.safetensors"), "--checkpoint", "step-9"]) == 1
    assert "has no checkpoint 'step-9'; it has best-content, step-000000, step-000006" in capsys.readouterr().err
