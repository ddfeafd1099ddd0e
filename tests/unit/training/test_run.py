"""A run: exact when resumed, whole when killed, clear when it ends early."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.tools import ROOT, shared, wait_until
from support.training import ADVERSARIAL, make_images, same, set_all, state, train
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from model import checkpoint
from model.architectures import build
from model.upscaler import Upscaler
from training import config as configuration
from training import export, fit, losses, phantoms
from training.batches import Batch
from training.run import Run
from training.trainer import Trainer


@pytest.mark.parametrize("cut_at", [4, 8], ids=["content", "adversarial"])
def test_resume_is_exact_to_the_bit(config_file: Path, monkeypatch: pytest.MonkeyPatch, cut_at: int) -> None:
    settings: tuple[str, ...] = (*ADVERSARIAL, "every.log=4")
    whole = train(config_file, "name=whole", *settings)
    advance, calls = Trainer.advance, iter(range(100))

    def interrupted(self: Trainer, batches: Iterator[Batch]) -> dict[str, float]:
        if next(calls) == cut_at:
            raise KeyboardInterrupt
        return advance(self, batches)

    monkeypatch.setattr(Trainer, "advance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit.main([str(config_file), *set_all(["name=cut", *settings])])
    monkeypatch.setattr(Trainer, "advance", advance)
    (folder,) = whole.folder.parent.glob("cut-*")
    cut = Run.open(folder)
    assert state(cut)["step"] == cut_at // 3 * 3  # the last saved state; what came after it is lost and made again
    assert fit.main(["--resume", str(folder)]) == 0
    assert same(state(cut), state(whole))
    told = [[{k: v for k, v in line.items() if k != "time"} for line in run.lines()] for run in (whole, cut)]
    assert told[0] == told[1]


def test_a_signal_ends_the_run_after_its_step_and_nothing_is_lost(
    config_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train(config_file, "name=whole")
    advance, calls = Trainer.advance, iter(range(100))

    def signalled(self: Trainer, batches: Iterator[Batch]) -> dict[str, float]:
        if next(calls) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return advance(self, batches)

    monkeypatch.setattr(Trainer, "advance", signalled)
    assert fit.main([str(config_file), *set_all(["name=cut"])]) == fit.INTERRUPTED
    (folder,) = whole.folder.parent.glob("cut-*")
    assert f"stopped after step 5; go on with --resume {folder}" in capsys.readouterr().err
    assert state(Run.open(folder))["step"] == 5
    assert fit.main(["--resume", str(folder)]) == 0
    assert same(state(Run.open(folder)), state(whole))
    assert fit.main(["--resume", str(folder)]) == 0
    assert "this run has finished: it has made all of its 6 steps" in capsys.readouterr().err


@pytest.mark.parametrize("step", [2, 5, 8])
def test_a_run_until_a_step_and_then_on_is_the_whole_run(
    config_file: Path, capsys: pytest.CaptureFixture[str], step: int
) -> None:
    whole = train(config_file, "name=whole", *ADVERSARIAL)
    assert fit.main([str(config_file), "--until", str(step), *set_all(["name=half", *ADVERSARIAL])]) == 0
    (folder,) = whole.folder.parent.glob("half-*")
    assert f"stopped after step {step}; go on with --resume {folder}" in capsys.readouterr().err
    assert state(Run.open(folder))["step"] == step
    assert fit.main(["--resume", str(folder)]) == 0
    assert same(state(Run.open(folder)), state(whole))


def test_a_resumed_run_may_change_what_is_not_its_networks(
    config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(config_file)
    assert fit.main(["--resume", str(run.folder), "--set", "content.steps=8"]) == 0
    kept = json.loads((run.folder / "config.json").read_text())
    assert kept["config"]["content"]["steps"] == 8
    assert kept["changes"][0]["before"]["content"]["steps"] == 6
    assert state(run)["step"] == 8
    before = (run.folder / "config.json").read_text()
    for refused, told in (
        ("generator.width=9", "a resumed run keeps its generator"),
        ("data.root=nowhere", "there is no such folder"),
    ):
        assert fit.main(["--resume", str(run.folder), "--set", refused]) == 3
        assert told in capsys.readouterr().err
        assert (run.folder / "config.json").read_text() == before  # nothing of what was refused


def test_a_resumed_run_takes_the_rates_of_its_configuration(config_file: Path) -> None:
    run = train(config_file, "name=half", "content.steps=4", *ADVERSARIAL)
    changes = ["content.betas=[0.1,0.2]", "adversarial.learning_rate=1e-7", "adversarial.betas=[0.3,0.4]"]
    assert fit.main(["--resume", str(run.folder), *set_all([*changes, "adversarial.steps=5"])]) == 0
    now = state(run)
    assert now["adam"]["param_groups"][0]["betas"] == (0.1, 0.2)
    for name in ("critic_adam", "adversarial_adam"):
        (group,) = now[name]["param_groups"]
        assert (group["lr"], group["betas"]) == (1e-7, (0.3, 0.4))


def test_a_content_run_can_meet_a_critic_later(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(config_file)
    assert fit.main(["--resume", str(run.folder), *set_all(ADVERSARIAL)]) == 0
    assert state(run)["step"] == 10
    assert [line["stage"] for line in run.lines() if "losses" in line] == ["content"] * 6 + ["adversarial"] * 4
    assert fit.main(["--resume", str(run.folder), "--set", "content.steps=8"]) == 3
    assert "is at step 10: it cannot change its content.steps, 6, any more" in capsys.readouterr().err


def test_a_run_folder_belongs_to_one_process(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(config_file)
    with run.held():
        assert fit.main(["--resume", str(run.folder), "--set", "content.steps=7"]) == 3
    assert "another process trains this run" in capsys.readouterr().err
    assert state(run)["step"] == 6


def test_other_images_than_before_are_told(config_file: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(config_file)
    assert fit.main(["--resume", str(run.folder)]) == 0
    assert "not the images that this run began with" not in capsys.readouterr().err
    make_images(images / "MORE", range(7, 13))
    assert fit.main(["--resume", str(run.folder)]) == 0
    assert "not the images that this run began with" in capsys.readouterr().err


def test_a_damaged_state_is_named(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(config_file)
    (run.folder / "state.pt").write_bytes(b"torn")
    assert fit.main(["--resume", str(run.folder)]) == 3
    assert "state.pt is damaged; restore it, or delete it" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["runs", "data.cache"])
def test_a_folder_that_cannot_be_made_is_named(
    config_file: Path, tmp_path: Path, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert fit.main([str(config_file), "--set", f"{key}={tmp_path / 'file' / 'x'}"]) in (1, 3)
    assert str(tmp_path / "file" / "x") in capsys.readouterr().err


def test_ctrl_c_reaches_the_workers_too_and_nothing_is_lost(config_file: Path, tmp_path: Path) -> None:
    settings = ["content.steps=0", *ADVERSARIAL[1:], "adversarial.steps=100000", "every.checkpoint=100000"]
    settings += ["adversarial.critic_steps=7", "data.workers=2", "every.save=100000"]
    command = [sys.executable, "-m", "training.fit", str(config_file), *set_all(settings)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        wait_until(lambda: len(list(tmp_path.glob("runs/*/metrics.jsonl"))) > 0, what="the first step")
        os.killpg(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == fit.INTERRUPTED, told
    (folder,) = (tmp_path / "runs").glob("*")
    assert f"stopped after step {state(Run.open(folder))['step']}" in told


def test_a_torn_line_and_a_resume_before_the_first_state_are_no_end(config_file: Path) -> None:
    run = train(config_file)
    whole = run.lines()
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.write('{"time": "2026-')
    assert run.lines() == whole
    before = state(run)
    (run.folder / "state.pt").unlink()
    assert fit.main(["--resume", str(run.folder)]) == 0
    assert same(state(run), before)


def test_weights_that_a_run_began_with_may_be_gone_when_it_is_resumed(config_file: Path) -> None:
    run = train(config_file)
    settings = ["content.steps=7", "start.weights=gone"]
    assert fit.main(["--resume", str(run.folder), *set_all(settings)]) == 0


def test_a_gradient_that_is_no_number_never_reaches_the_weights(
    config_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The loss is finite, its gradient is not: sqrt at zero."""
    relative, calls = losses.relative, iter(range(100))

    def spiked(error: torch.Tensor, *others: Any) -> torch.Tensor:
        loss = relative(error, *others)
        return loss + (error - error.detach()).square().sum().sqrt() if next(calls) == 4 else loss

    monkeypatch.setattr(losses, "relative", spiked)
    assert fit.main([str(config_file), "--set", "every.save=1"]) == 1
    told = capsys.readouterr().err
    (folder,) = (config_file.parent / "runs").glob("*")
    assert "gradient is nan at step 4" in told
    assert f"--resume {folder} --set KEY=VALUE goes on from step 4, the last saved state" in told
    saved = state(Run.open(folder))
    assert saved["step"] == 4
    assert all(torch.isfinite(value).all() for value in saved["generator"].values())


def test_workers_and_a_cache_change_nothing(config_file: Path, tmp_path: Path) -> None:
    plain = train(config_file, "name=plain", *ADVERSARIAL)
    cached = train(config_file, "name=cached", "data.workers=2", f"data.cache={tmp_path / 'cache'}", *ADVERSARIAL)
    assert same(state(plain), state(cached))
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 36  # each image native, whole and fit


def test_accumulated_parts_are_one_batch(config_file: Path) -> None:
    settings: tuple[str, ...] = (
        "generator.batch_norm=false",
        "content.batch=4",
        "adversarial.batch=4",
        "adversarial.learning_rate=1e-6",  # Adam gives the noise of a gradient of almost zero the size of a step
        *ADVERSARIAL[:1],
        *ADVERSARIAL[2:],
    )
    whole, parts = (train(config_file, f"name=in{n}", f"accumulate={n}", *settings) for n in (1, 2))
    told = [[line["losses"] for line in run.lines() if "losses" in line] for run in (whole, parts)]
    assert len(told[0]) == 10
    for one, other in zip(*told, strict=True):
        assert one == pytest.approx(other, rel=1e-4, abs=5e-5)


def test_a_kill_leaves_every_checkpoint_whole(config_file: Path, tmp_path: Path) -> None:
    """SIGKILL at whatever moment; what lies in the folder loads, and the run goes on."""
    settings = ["content.steps=100000", "every.save=1", "every.checkpoint=2", "every.log=1"]
    command = [sys.executable, "-m", "training.fit", str(config_file), *set_all(settings)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: len(list(tmp_path.glob("runs/*/checkpoints/step-0*"))) > 8, what="the eighth checkpoint")
        os.kill(process.pid, signal.SIGKILL)
    (folder,) = (tmp_path / "runs").glob("*")
    run = Run.open(folder)
    assert state(run)["step"] > 8
    found = [path for path in (folder / "checkpoints").glob("*/*.safetensors") if path.parent.suffix != ".tmp"]
    assert len(found) >= 8
    for path in found:
        checkpoint.load(path)
    more = f"content.steps={state(run)['step'] + 2}"
    assert fit.main(["--resume", str(folder), "--set", more]) == 0


CARD = {"name": "tiny", "version": "1", "tile": 32, "overlap": 8}


def test_a_kill_while_a_checkpoint_is_written_leaves_none_that_is_broken(
    config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dies between the weights and their card, once for a new folder and once for one that is there already."""
    run = train(config_file, "every.checkpoint=3", "every.save=2")
    whole = checkpoint.save

    def dies(path: Path, *arguments: object, **card: object) -> None:
        whole(path, *arguments, **card)  # type: ignore[arg-type]
        path.with_suffix(".json").unlink()
        raise KeyboardInterrupt

    for step in (3, 9):
        monkeypatch.setattr(checkpoint, "save", dies)
        with pytest.raises(KeyboardInterrupt):
            run.keep(build(run.config.generator), step, "content", CARD)
    monkeypatch.setattr(checkpoint, "save", whole)
    found = list((run.folder / "checkpoints").glob("step-??????/*.safetensors"))
    assert len(found) == 3
    for path in found:
        checkpoint.load(path)
    assert fit.main(["--resume", str(run.folder), "--set", "content.steps=9"]) == 0


def test_a_kill_while_saving_leaves_the_last_state(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = train(config_file)
    before = state(run)

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", dies)
    with pytest.raises(KeyboardInterrupt):
        run.save({"step": 99})
    assert same(state(run), before)


def test_a_run_folder_tells_what_was_done(config_file: Path) -> None:
    run = train(config_file, *ADVERSARIAL)
    kept = json.loads((run.folder / "config.json").read_text())
    assert configuration.build(kept["config"], "here").content.steps == 6
    assert run.origin == {"revision": kept["revision"], "began_as": "", "processes": 1, "changes": []}
    logged = [line for line in run.lines() if "losses" in line]
    assert [line["step"] for line in logged] == list(range(1, 11))
    assert [line["stage"] for line in logged] == ["content"] * 6 + ["adversarial"] * 4
    assert {"critic_loss", "penalty", "slope", "adversarial", "pixel"} <= set(logged[-1]["losses"])
    measured = [line for line in run.lines() if "views" in line]
    assert [line["step"] for line in measured] == [0, 6, 10]
    for means in measured[0]["views"].values():
        for method in ("ours", "bicubic", "consistent"):
            assert {"psnr", "ssim", "gmsd", "detail", "spectrum"} == set(means[method])
    assert set(measured[0]["views"]) == {"whole", "native"}
    with Image.open(run.folder / "curves.png") as curves:
        assert np.asarray(curves).std() > 1
    with Image.open(run.folder / "panels" / "step-000010.png") as panel:
        assert panel.size[0] > 1000
    board = EventAccumulator(str(run.folder / "tensorboard")).Reload()
    assert [event.step for event in board.Scalars("loss/losses")] == list(range(1, 11))
    told = measured[-1]["views"]["native"]["ours"]["psnr"]
    assert board.Scalars("native/ours/psnr/views")[-1].value == pytest.approx(told)


def test_the_progress_table_has_a_row_and_a_panel_for_each_checkpoint(config_file: Path) -> None:
    run = train(config_file, "every.checkpoint=2")
    rows = [line for line in (run.folder / "progress.md").read_text().splitlines() if "| content |" in line]
    assert [row.split("|")[2].strip() for row in rows] == ["0", "0", "2", "2", "4", "4", "6", "6"]
    lines = [line for line in run.lines() if "views" in line]
    told = [(line, means) for line in lines for means in line["views"].values()]
    for row, (line, means) in zip(rows, told, strict=True):
        for method in ("bicubic", "consistent", "ours"):
            assert f"| {means[method]['psnr']:.2f} |" in row
        assert "raw" not in means
        assert f"better on {means['better']} of {means['images']}" in row
        assert (run.folder / "panels" / f"step-{line['step']:06}.png").is_file()


def test_before_anything_was_learned_there_is_nothing_to_praise(config_file: Path) -> None:
    """An untrained generator that ends in the consistency step is back-projection, and the table says so."""
    run = train(config_file)
    first = run.lines()[0]
    assert first["step"] == 0
    for means in first["views"].values():
        assert abs(means["ours"]["psnr"] - means["consistent"]["psnr"]) < 0.3
    assert "hardly to be told from back-projection" in first["seen"]


def test_a_run_without_the_consistency_step_shows_its_raw_output(config_file: Path) -> None:
    run = train(config_file, "consistent=false", "generator.output=image")
    for line in run.lines():
        for means in line.get("views", {}).values():
            assert means["raw"]["psnr"] < means["ours"]["psnr"] - 3  # an image from nothing, not back-projection
    table = (run.folder / "progress.md").read_text()
    raw = run.lines()[0]["views"]["whole"]["raw"]["psnr"]
    assert f"| {raw:.2f} |" in table
    assert "further from the original than back-projection" in table


def test_a_larger_generator_teaches_a_smaller_one(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    teacher = train(config_file).folder / "checkpoints" / "best-content" / "tiny.safetensors"
    taught = train(config_file, "name=taught", f"teacher.weights={teacher}", "teacher.share=1.0", "content.steps=60")
    told = [line["losses"] for line in taught.lines() if "losses" in line]
    assert {"loss", "teacher"} <= set(told[0])
    assert np.mean([line["teacher"] for line in told]) == pytest.approx(np.mean([line["loss"] for line in told]))
    wrong = [f"teacher.weights={teacher}", "generator.scale=2"]
    assert fit.main([str(config_file), *set_all(wrong)]) == 3
    assert "teacher.weights" in capsys.readouterr().err


def test_what_weights_were_made_of_is_remembered_through_several_runs(config_file: Path, tmp_path: Path) -> None:
    first = train(config_file, "name=first")
    target = tmp_path / "first.safetensors"
    assert export.main([str(first.folder), "-o", str(target)]) == 0
    second = train(config_file, "name=second", f"start.weights={target}", "content.learning_rate=1e-4")
    before = second.origin["before"]
    assert (before["name"], before["steps_done"], before["content"]["learning_rate"]) == ("first", 6, 2e-3)
    assert second.origin["began_as"].startswith("first 1 (")


def test_the_best_checkpoint_gains_most_over_back_projection(config_file: Path) -> None:
    run = train(config_file, "every.checkpoint=1", "content.learning_rate=0.3")
    measured = {
        line["step"]: np.mean([m["ours"]["psnr"] - m["consistent"]["psnr"] for m in line["views"].values()])
        for line in run.lines()
        if "views" in line
    }
    best = max(measured, key=lambda step: measured[step])
    assert (run.folder / "checkpoints" / "best-content").resolve().name == f"step-{best:06}"


def test_the_weights_of_a_run_serve_the_node(config_file: Path) -> None:
    run = train(config_file)
    path = run.folder / "checkpoints" / "best-content" / "tiny.safetensors"
    assert Upscaler.load(str(path), "cpu").upscale(np.zeros((8, 8), np.uint8)).shape == (32, 32)
    generators, _ = checkpoint.load(path)
    best = (run.folder / "checkpoints" / "best-content").resolve().name
    last = run.folder / "checkpoints" / "step-000006" / "tiny.safetensors"
    assert same(checkpoint.load(last)[0][4].state_dict(), state(run)["average"])
    assert best != "step-000006" or same(generators[4].state_dict(), state(run)["average"])


def test_training_lowers_the_loss_and_beats_back_projection(config_file: Path, tmp_path: Path) -> None:
    """On edges and discs, which can be learned in seconds."""
    root = tmp_path / "drawn"
    root.mkdir()
    for number in range(20):
        random = np.random.default_rng(number)
        drawn = phantoms.draw(96, 4, random, bars_share=0.0)
        values = 255 * (drawn - drawn.min()) / np.ptp(drawn)
        Image.fromarray(values.astype(np.uint8)).save(root / f"drawn{number}.png")
    learning = ("content.steps=250", "content.batch=8", "content.learning_rate=4e-3", "generator.batch_norm=false")
    run = train(config_file, *learning, "every.checkpoint=250", "average=0.95", f"data.root={root}")
    seen = [line["losses"]["loss"] for line in run.lines() if "losses" in line]
    assert np.mean(seen[-30:]) < 0.97 * np.mean(seen[:10])
    for means in run.lines()[-1]["views"].values():
        assert means["ours"]["psnr"] > means["consistent"]["psnr"]


def test_the_critic_learns_to_tell_and_the_penalty_holds_its_slope(config_file: Path) -> None:
    """A frozen or unpenalised critic, as in the seed, fails here."""
    run = train(
        config_file,
        "content.steps=0",
        "adversarial.steps=60",
        "adversarial.batch=4",
        "adversarial.critic_steps=3",
        "adversarial.learning_rate=1e-3",
        "adversarial.perceptual_weight=0",
        "adversarial.adversarial_weight=0",
        "critic.width=8",
        "every.checkpoint=60",
    )
    told = [line["losses"] for line in run.lines() if "losses" in line]
    assert np.mean([line["slope"] for line in told[-20:]]) == pytest.approx(1, abs=0.3)
    assert np.mean([line["penalty"] for line in told[-20:]]) < 0.2
    assert np.mean([line["critic_loss"] for line in told[-20:]]) < -0.01


def test_the_generator_follows_the_critic(config_file: Path) -> None:
    """With the critic's score alone, the generator changes; with weight zero it stays."""
    alone = ("content.steps=0", "adversarial.pixel_weight=0", *ADVERSARIAL[:4], "average=0.0")
    moved = train(config_file, "name=moved", *alone, "adversarial.adversarial_weight=1")
    still = train(config_file, "name=still", *alone, "adversarial.adversarial_weight=0")
    last = "tail.0.weight"
    assert state(moved)["generator"][last].abs().max() > 0
    assert state(still)["generator"][last].abs().max() == 0


def test_a_loss_that_is_no_number_stops_the_run_with_the_last_state(
    config_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    relative, calls = losses.relative, iter(range(100))
    monkeypatch.setattr(losses, "relative", lambda *a: relative(*a) * (float("nan") if next(calls) == 4 else 1))
    assert fit.main([str(config_file)]) == 1
    assert "loss is nan at step 4" in capsys.readouterr().err
    (folder,) = (config_file.parent / "runs").glob("*")
    assert state(Run.open(folder))["step"] == 3


def test_a_critic_that_diverges_stops_the_run(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = [*ADVERSARIAL, "adversarial.critic_limit=1e-9"]
    assert fit.main([str(config_file), *set_all(settings)]) == 1
    assert "beyond the limit of 1e-09; lower adversarial.learning_rate" in capsys.readouterr().err


def test_deterministic_runs_are_the_same_run(config_file: Path) -> None:
    try:
        one, other = (train(config_file, f"name=run{n}", "deterministic=true", *ADVERSARIAL) for n in (1, 2))
        assert same(state(one), state(other))
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


def test_the_seed_s_own_form_trains(config_file: Path) -> None:
    """Three channels, the image itself from tanh, an unconditional critic, VGG19 features, L2 on the upsampling."""
    run = train(
        config_file,
        *ADVERSARIAL[:3],
        "consistent=false",
        "pixel=squared",
        "generator.channels=3",
        "generator.output=image",
        "generator.tail=stages",
        "generator.attention=true",
        "critic.conditional=false",
        "data.augment=[]",
        "data.whole_share=1.0",
        "adversarial.upsampling_decay=1e-4",
        f"adversarial.vgg={shared('vgg', 'vgg_normalised_conv3_1.pth')}",
        'adversarial.perceptual_layers=["relu1_2"]',
    )
    told = run.lines()[-2]["losses"]
    parts = {"loss", "pixel", "adversarial", "perceptual", "gradient", "critic_loss", "penalty", "slope"}
    assert set(told) == parts
    assert told["perceptual"] > 0
    path = run.folder / "checkpoints" / "best-adversarial" / "tiny.safetensors"
    assert Upscaler.load(str(path), "cpu").upscale(np.zeros((8, 8), np.uint8)).shape == (32, 32)
