"""The training pipeline: exact, honest about its data, clear about mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dicom_sr_node import phantom
from model.checkpoint import load
from model.generator import Generator, GeneratorConfig, bicubic
from model.upscaler import Upscaler
from training import config as configuration
from training import data, evaluate, export, fit, losses, metrics, steps
from training.config import TrainingConfig
from training.degrade import degrade
from training.run import Run

CONFIG = """
name = "tiny"
version = "1"
seed = 3
threads = 1
[data]
root = "{root}"
whole_size = 64
crop = 32
validation_percent = 20
[optimiser]
steps = 6
batch = 2
warmup_steps = 2
[generator]
width = 8
blocks = 1
edge_kernel = 3
batch_norm = true
attention = false
tail = "shuffle"
[inference]
tile = 32
overlap = 8
[every]
log = 1
checkpoint = 3
validate = 6
"""


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Twelve phantoms of six patients, in the Kermany naming."""
    root = tmp_path / "images" / "NORMAL"
    root.mkdir(parents=True)
    for patient in range(6):
        for number in range(2):
            pixels = (phantom.draw(80, seed=10 * patient + number) >> 4).astype(np.uint8)
            Image.fromarray(pixels).save(root / f"person{patient}_bacteria_{number}.png")
    return tmp_path / "images"


@pytest.fixture
def config_file(tmp_path: Path, images: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(f'runs = "{tmp_path / "runs"}"\n' + CONFIG.format(root=images))
    return path


def train(config_file: Path, *settings: str) -> Path:
    config = configuration.read(config_file, settings)
    before = set(config.runs.glob("*")) if config.runs.exists() else set()
    assert fit.main([str(config_file), *(part for s in settings for part in ("--set", s))]) == 0
    (folder,) = set(config.runs.glob("*")) - before
    return folder


def state(folder: Path) -> dict[str, object]:
    found = Run.open(folder).state()
    assert found is not None
    return found


def same(one: object, other: object) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)  # type: ignore[attr-defined, index]
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))  # type: ignore[arg-type]
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)  # type: ignore[arg-type]
    return bool(one == other)


def test_resume_is_exact_to_the_bit(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(config_file, "name=whole")
    advance, calls = fit.Trainer.advance, iter(range(100))

    def interrupted(self: fit.Trainer, batch: data.Batch) -> float:
        if next(calls) == 4:
            raise KeyboardInterrupt
        return advance(self, batch)

    monkeypatch.setattr(fit.Trainer, "advance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit.main([str(config_file), "--set", "name=cut"])
    monkeypatch.setattr(fit.Trainer, "advance", advance)
    (cut,) = whole.parent.glob("cut-*")
    assert state(cut)["step"] == 3  # the last checkpoint; the fourth step is lost and made again
    assert fit.main(["--resume", str(cut)]) == 0
    assert same(state(cut), state(whole))


def test_a_run_folder_tells_what_was_done(config_file: Path) -> None:
    folder = train(config_file)
    kept = json.loads((folder / "config.json").read_text())
    assert TrainingConfig(**kept["config"]).optimiser.steps == 6
    assert kept["revision"]
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3, 4, 5, 6]
    assert {"ours_psnr", "bicubic_psnr", "ours_ssim", "bicubic_ssim"} <= set(rows[-1])


def test_training_lowers_the_loss_and_beats_bicubic(config_file: Path) -> None:
    folder = train(
        config_file,
        "optimiser.steps=150",
        "optimiser.learning_rate=5e-3",
        "every.validate=150",
        "optimiser.average=0.9",
    )
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    losses_seen = [row["loss"] for row in rows if "loss" in row]
    assert np.mean(losses_seen[-30:]) < 0.97 * np.mean(losses_seen[:10])
    assert rows[-1]["ours_psnr"] > rows[-1]["bicubic_psnr"]


def test_exported_weights_load_and_say_where_they_come_from(config_file: Path, tmp_path: Path) -> None:
    folder = train(config_file)
    measured = tmp_path / "evaluation.json"
    measured.write_text(json.dumps({"protocol": "seed", "images": 3, "each": []}))
    target = tmp_path / "tiny.safetensors"
    assert export.main([str(folder), "-o", str(target), "--metrics", str(measured)]) == 0
    generator, card = load(target)
    assert (card.name, card.training["steps_done"]) == ("tiny", 6)
    assert card.metrics == {"seed": {"images": 3}}
    assert str(tmp_path) not in target.with_suffix(".json").read_text()  # no path of this machine
    assert same(generator.state_dict(), state(folder)["average"])
    assert Upscaler.load(str(target), "cpu").upscale(np.zeros((8, 8), np.uint8)).shape == (32, 32)


def test_no_patient_is_in_both_parts(config_file: Path) -> None:
    config = configuration.read(config_file)
    training, held_out = data.split(data.find_images(config.data.root), config.data)
    patients = [{data.patient_of(path) for path in part} for part in (training, held_out)]
    assert not patients[0] & patients[1]
    assert len(training) + len(held_out) == 12


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("person12_bacteria_47.jpeg", "kermany-P12"),
        ("person12_virus_3.jpeg", "kermany-P12"),
        ("IM-0117-0001.jpeg", "kermany-N0117"),
        ("NORMAL2-IM-0117-0002.jpeg", "kermany-N0117"),
        ("00001383_000.png", "nih-00001383"),
        ("00001383_011.png", "nih-00001383"),
        ("scan.png", "scan"),
    ],
)
def test_patients_are_known_by_file_name(name: str, patient: str) -> None:
    assert data.patient_of(Path(name)) == patient


def test_a_batch_follows_from_seed_and_step_alone(config_file: Path) -> None:
    config = configuration.read(config_file)
    images, _ = data.load(data.find_images(config.data.root), config.data)
    one, again = (data.Batches(images, config.data, batch=4, seed=1) for _ in range(2))
    assert torch.equal(one.at(7).high, again.at(7).high)
    assert not torch.equal(one.at(7).high, one.at(8).high)
    assert not torch.equal(one.at(7).high, data.Batches(images, config.data, batch=4, seed=2).at(7).high)


def test_an_unreadable_image_is_told_and_left_out(config_file: Path, images: Path) -> None:
    (images / "broken.png").write_bytes(b"no picture")
    config = configuration.read(config_file)
    loaded, skipped = data.load(data.find_images(images), config.data)
    assert len(loaded) == 12
    assert len(skipped) == 1
    assert "broken.png: skipped" in skipped[0]


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("optimiser.stepps=3", "optimiser.stepps"),
        ("optimiser.learning_rate=-1", "optimiser.learning_rate"),
        ("data.root=nowhere", "there is no such folder"),
        ("data.crop=33", "multiple of generator.scale"),
        ("data.crop=128", "exceeds data.whole_size"),
        ('degrade=["area_mean","rain"]', "known steps are area_mean, quantise"),
        ("nonsense", "expected key=value"),
        ("generator.widht=3", "widht"),
    ],
)
def test_each_mistake_is_named_with_exit_code_3(
    config_file: Path, setting: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit.main([str(config_file), "--set", setting]) == 3
    assert told in capsys.readouterr().err


def test_an_empty_folder_and_a_missing_file_are_named(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert fit.main([str(config_file), "--set", f"data.root={tmp_path / 'empty'}"]) == 3
    assert "no image" in capsys.readouterr().err
    assert fit.main([str(tmp_path / "none.toml")]) == 3
    assert "does not exist" in capsys.readouterr().err
    assert fit.main(["--resume", str(tmp_path)]) == 3
    assert "is not the folder of a run" in capsys.readouterr().err


def test_a_loss_that_is_no_number_stops_the_run_with_the_last_checkpoint(
    config_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loss, calls = steps.content_loss, iter(range(100))
    monkeypatch.setattr(steps, "content_loss", lambda *a: loss(*a) * (float("nan") if next(calls) == 4 else 1))
    assert fit.main([str(config_file)]) == 1
    assert "the loss is nan at step 4" in capsys.readouterr().err
    (folder,) = configuration.read(config_file).runs.glob("*")
    assert state(folder)["step"] == 3


def test_a_kill_while_saving_leaves_the_last_checkpoint(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = train(config_file)
    before = state(folder)

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", dies)
    with pytest.raises(KeyboardInterrupt):
        Run.open(folder).save({"step": 99})
    assert same(state(folder), before)


def test_the_schedule_rises_and_falls_to_zero() -> None:
    optimiser = TrainingConfig(
        name="x", version="1", data={"root": "."}, optimiser={"steps": 100, "warmup_steps": 10}
    ).optimiser
    rates = [steps.learning_rate(optimiser, step) for step in range(101)]
    assert rates[0] == pytest.approx(optimiser.learning_rate / 10)
    assert max(rates) == pytest.approx(optimiser.learning_rate)
    assert rates[-1] == pytest.approx(0)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_pixel_losses_on_known_answers() -> None:
    high, result = torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4)
    result[1] *= 3
    assert losses.pixel_loss(result, high).tolist() == [1, 3]
    assert losses.relative_pixel_loss(result, high, result, floor=0).item() == pytest.approx(1)
    assert losses.relative_pixel_loss(result, high, 2 * result, floor=0).item() == pytest.approx(0.5)


def test_degradation_is_the_rounded_area_mean() -> None:
    high = torch.arange(64, dtype=torch.float32).reshape(1, 1, 8, 8)
    assert degrade(high, ("area_mean",), 4).flatten().tolist() == [13.5, 17.5, 45.5, 49.5]
    assert degrade(high, ("area_mean", "quantise"), 4).flatten().tolist() == [14, 18, 46, 50]
    assert evaluate.low_of(high[0, 0].numpy().astype(np.uint8), 4).flatten().tolist() == [14, 18, 46, 50]


def test_the_average_follows_the_weights() -> None:
    config = GeneratorConfig(width=8, blocks=1, edge_kernel=3, batch_norm=True, attention=False, tail="shuffle")
    average, current = Generator(config), Generator(config)
    for _ in range(200):
        steps.follow(average, current, 0.9, 1000)
    assert torch.allclose(average.head[0].weight, current.head[0].weight, atol=1e-5)


def test_metrics_on_known_answers() -> None:
    reference = (phantom.draw(64) >> 4).astype(np.uint8)
    assert metrics.psnr(reference, reference) == float("inf")
    assert metrics.psnr(np.zeros((8, 8)), np.full((8, 8), 255)) == pytest.approx(0)
    assert metrics.psnr(np.zeros((8, 8)), np.full((8, 8), 25.5)) == pytest.approx(20)
    assert metrics.ssim(reference, reference) == pytest.approx(1)
    assert metrics.gmsd(reference, reference) == pytest.approx(0, abs=1e-7)
    noisy = np.clip(reference + np.random.default_rng(0).normal(0, 20, reference.shape), 0, 255)
    assert metrics.ssim(noisy, reference) < 0.9
    assert metrics.gmsd(noisy, reference) > 0.02


def test_bicubic_is_pillow_s(images: Path) -> None:
    low = (phantom.draw(32) >> 4).astype(np.uint8)
    ours = bicubic(torch.from_numpy(low)[None, None].float(), 4)[0, 0].clamp(0, 255).round().numpy()
    assert np.abs(ours - evaluate.by_resampling("bicubic")(low, 4)).max() <= 1


def test_evaluation_measures_every_method_and_draws_the_extremes(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "evaluation"
    arguments = [
        "--weights",
        "cxr-x4-lite",
        "--data",
        str(images),
        "--protocol",
        "native",
        "--device",
        "cpu",
        "-o",
        str(out),
    ]
    assert evaluate.main(arguments) == 0
    result = json.loads((out / "evaluation.json").read_text())
    assert result["images"] == len(result["each"]) == 12
    assert {"nearest", "bilinear", "bicubic", "lanczos", "cxr-x4-lite"} <= set(result)
    assert result["bicubic"]["psnr_over_bicubic"] == 0
    assert result["cxr-x4-lite"]["psnr_over_bicubic"] == pytest.approx(
        result["cxr-x4-lite"]["psnr"] - result["bicubic"]["psnr"], abs=1e-9
    )
    with Image.open(out / "panel.png") as panel:
        assert panel.size[0] > 500


def test_evaluation_of_nothing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main(["--weights", "cxr-x4-lite", "--data", str(tmp_path)]) == 1
    assert "no image" in capsys.readouterr().err
    assert evaluate.main(["--weights", "nonsense", "--data", str(tmp_path)]) == 1


def test_every_shipped_configuration_loads() -> None:
    from kit import ROOT

    found = sorted((ROOT / "config").glob("train*.toml"))
    assert [path.name for path in found] == ["train-smoke.toml", "train.toml"]
    for path in found:
        config = configuration.read(path)
        Generator(config.generator)


def test_the_shipped_weights_were_made_with_the_shipped_configuration() -> None:
    from kit import ROOT

    from model import checkpoint

    config = configuration.read(ROOT / "config" / "train.toml")
    card = checkpoint.read_card(checkpoint.find(config.name))
    assert card.architecture == config.generator
    for key in ("optimiser", "degrade", "seed", "precision"):
        assert card.training[key] == config.as_dict()[key]
    assert card.training["steps_done"] == config.optimiser.steps
