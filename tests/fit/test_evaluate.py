"""Measuring: known answers, every method, paired differences, the extremes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from fitkit import train
from PIL import Image

from dicom_sr_node import phantom
from model import checkpoint
from model.generator import bicubic
from training import cases, evaluate, export, methods, metrics


def chest(size: int = 64) -> np.ndarray:
    return (phantom.draw(size) >> 4).astype(np.uint8)


def test_metrics_on_known_answers() -> None:
    reference = chest()
    assert metrics.psnr(reference, reference) == 100
    assert metrics.psnr(np.zeros((8, 8)), np.full((8, 8), 255)) == pytest.approx(0)
    assert metrics.psnr(np.zeros((8, 8)), np.full((8, 8), 25.5)) == pytest.approx(20)
    assert metrics.psnr(np.zeros((8, 8)), np.full((8, 8), 409.5), peak=4095) == pytest.approx(20)
    assert metrics.ssim(reference, reference) == pytest.approx(1)
    assert metrics.gmsd(reference, reference) == pytest.approx(0, abs=1e-7)
    noisy = np.clip(reference + np.random.default_rng(0).normal(0, 20, reference.shape), 0, 255)
    assert metrics.ssim(noisy, reference) < 0.9
    assert metrics.gmsd(noisy, reference) > 0.02


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
    assert np.abs(ours - methods.by_filter("bicubic")(low, 4, 255)).max() <= 1


def test_back_projection_returns_to_the_source() -> None:
    low = chest(32)
    errors = {name: metrics.consistency_error(methods.CLASSICAL[name](low, 4, 255), low) for name in methods.CLASSICAL}
    assert errors["nearest"] == 0
    assert errors["back-projection"] < 0.3 * errors["bicubic"]


def test_the_low_image_is_what_the_name_says() -> None:
    high = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert cases.low_of(high, "area", 4, 255).flatten().tolist() == [14, 18, 46, 50]
    small = np.asarray(Image.fromarray(chest()).resize((16, 16), Image.Resampling.BICUBIC))
    assert np.abs(cases.low_of(chest(), "bicubic", 4, 255).astype(int) - small).max() <= 1


@pytest.mark.parametrize("protocol", ["seed", "native"])
def test_evaluation_measures_every_method_and_draws_the_extremes(
    config_file: Path, images: Path, tmp_path: Path, protocol: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "evaluation"
    (images / "broken.png").write_bytes(b"no picture")
    Image.new("L", (20, 30)).save(images / "tiny.png")
    tiny = train(config_file).folder / "checkpoints" / "best-content" / "tiny.safetensors"
    weights = ["cxr-x4-lite", str(tiny)]
    arguments = ["--weights", *weights, "--data", str(images), "--protocol", protocol, "--device", "cpu"]
    assert evaluate.main([*arguments, "-o", str(out)]) == 0
    result = json.loads((out / "evaluation.json").read_text())
    assert (result["images"], result["patients"]) == ((12, 6) if protocol == "native" else (13, 7))
    assert len(result["each"]) == result["images"]
    everyone = {"nearest", "bilinear", "bicubic", "lanczos", "back-projection", "cxr-x4-lite", "tiny"}
    assert set(result["methods"]) == everyone
    assert result["methods"]["cxr-x4-lite"]["consistency_error"] == 0
    assert set(result["differences"]["tiny"]) == everyone - {"tiny"}
    mine = [image["cxr-x4-lite"]["psnr"] - image["bicubic"]["psnr"] for image in result["each"]]
    difference = result["differences"]["cxr-x4-lite"]["bicubic"]
    assert difference["psnr"] == pytest.approx(np.mean(mine))
    assert difference["interval"][0] <= difference["psnr"] <= difference["interval"][1]
    assert result["sources"]["kermany"]["images"] == 12
    table = (out / "evaluation.md").read_text()
    shown = capsys.readouterr()
    for method in everyone:
        assert f"| {method} |" in table
        assert method in shown.out
    assert "broken.png: skipped" in shown.err
    if protocol == "native":
        assert "20x20 pixels are too few" in shown.err
    with Image.open(out / "panel.png") as panel:
        assert panel.size[1] > 1000


def test_evaluation_of_nothing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main(["--weights", "cxr-x4-lite", "--data", str(tmp_path)]) == 1
    assert "no image" in capsys.readouterr().err
    assert evaluate.main(["--weights", "nonsense", "--data", str(tmp_path)]) == 1
    assert "no weights 'nonsense'" in capsys.readouterr().err


def evaluation(tmp_path: Path, sha256: str) -> Path:
    path = tmp_path / "evaluation.json"
    weights = {"tiny": {"version": "1", "sha256": sha256}}
    path.write_text(json.dumps({"protocol": "seed", "low": "area", "weights": weights, "each": []}))
    return path


def test_exported_weights_say_where_they_come_from(config_file: Path, tmp_path: Path) -> None:
    run = train(config_file, "every.checkpoint=2", 'weaknesses=["tiny"]')
    target = tmp_path / "tiny.safetensors"
    assert export.main([str(run.folder), "-o", str(target)]) == 0
    sha256 = checkpoint.load(target)[1].sha256
    assert export.main([str(run.folder), "-o", str(target), "--metrics", str(evaluation(tmp_path, sha256))]) == 0
    card = checkpoint.load(target)[1]
    assert (card.name, card.training["steps_done"], card.weaknesses) == ("tiny", 6, ["tiny"])
    assert card.metrics["seed, low by area"]["weights"]["tiny"]["sha256"] == card.sha256
    assert [line["step"] for line in card.training["history"]] == [1, 2, 3, 4, 5, 6]
    assert str(tmp_path) not in (tmp_path / "tiny.json").read_text()  # no path of this machine
    assert export.main([str(run.folder), "-o", str(target), "--checkpoint", "step-000002"]) == 0
    assert checkpoint.load(target)[1].training["steps_done"] == 2


def test_figures_of_other_weights_are_refused(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(config_file)
    other = str(evaluation(tmp_path, "0" * 64))
    assert export.main([str(run.folder), "-o", str(tmp_path / "x.safetensors"), "--metrics", other]) == 1
    assert "was measured with other weights" in capsys.readouterr().err
    for text in ("{}", '{"weights": []}'):
        Path(other).write_text(text)
        assert export.main([str(run.folder), "-o", str(tmp_path / "x.safetensors"), "--metrics", other]) == 1
        assert "is not an evaluation.json" in capsys.readouterr().err


def test_the_last_checkpoint_is_the_one_of_the_highest_step(config_file: Path, tmp_path: Path) -> None:
    run = train(config_file, "every.checkpoint=2")
    checkpoints = run.folder / "checkpoints"
    shutil.copytree(checkpoints / "step-000002", checkpoints / "step-000006.old")  # a kill has left it
    (checkpoints / "step-000004").rename(checkpoints / "step-1000004")
    target = tmp_path / "tiny.safetensors"
    assert export.main([str(run.folder), "-o", str(target)]) == 0
    assert checkpoint.load(target)[1].training["steps_done"] == 4


def test_a_checkpoint_that_is_not_there_is_named(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(config_file)
    assert export.main([str(run.folder), "-o", str(tmp_path / "x.safetensors"), "--checkpoint", "step-9"]) == 1
    assert "has no checkpoint 'step-9'; it has best-content, step-000006" in capsys.readouterr().err
