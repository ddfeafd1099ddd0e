"""The configuration: each mistake is named with its key and the remedy, before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
from fitkit import set_all
from kit import ROOT, shared

from model import checkpoint
from model.critic import Critic
from model.generator import Generator
from training import config as configuration
from training import fit


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["content.stepps=3"], "content.stepps"),
        (["content.learning_rate=-1"], "content.learning_rate"),
        (["data.root=nowhere"], "there is no such folder"),
        (["data.crop=33"], "multiple of generator.scale"),
        (["data.crop=128"], "exceeds data.whole_size"),
        (['degrade=["area_mean","rain"]'], "'area_mean', 'bicubic', 'noise', 'quantise', 'jpeg'"),
        (['degrade=["quantise"]'], 'exactly one of "area_mean" and "bicubic"'),
        (['degrade=["area_mean",{step="jpeg",quality=[0,9]}]'], "greater than or equal to 1"),
        (["nonsense"], "expected key=value"),
        (["generator.widht=3"], "widht"),
        (["generator.scale=3"], "scale"),
        (["critic.depth=3"], "critic.depth"),
        (["content.steps=0"], "nothing to train"),
        (["accumulate=4"], "accumulate = 4 must divide content.batch = 2"),
        (["generator.edge_kernel=4"], "edge_kernel must be odd"),
        (["generator.width=-3"], "must be at least 1"),
        (["content.betas=[0.9,1.0]"], "less than 1"),
        (["average=1.0"], "average"),
        (["inference.overlap=16"], "inference.tile = 32 must exceed twice inference.overlap = 16"),
        (["device=cuda"], "offers no CUDA device"),
        (["data.validation_percent=1"], "change data.validation_percent = 1"),
        (["adversarial.steps=1"], "needs adversarial.vgg"),
        (["adversarial.steps=1", "adversarial.vgg=nowhere.pth"], "adversarial.vgg: nowhere.pth does not exist"),
        (["adversarial.steps=1", 'adversarial.perceptual_layers=["relu6"]'], "no 'relu6'"),
        (["data.whole_size=8"], "data.whole_size"),
        (["critic.width=0"], "must be at least 1"),
        (["content.learning_rate=1e38"], "less than or equal to 1"),
        (["name=../evil"], "name"),
        (["adversarial.steps=1", "adversarial.vgg=x", "generator.channels=2"], "VGG19 sees 1 or 3"),
        (["start.weights=nowhere.safetensors"], "start.weights: no weights"),
        (["data.augment=['spin']"], "data.augment"),
        (["device=tpu"], "device"),
    ],
)
def test_each_mistake_is_named_with_exit_code_3(
    config_file: Path, settings: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit.main([str(config_file), *set_all(settings)]) == 3
    assert told in capsys.readouterr().err


def test_a_prefix_without_the_wanted_layer_is_named(config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vgg = shared("vgg", "vgg_normalised_conv3_1.pth")
    settings = ["adversarial.steps=1", f"adversarial.vgg={vgg}", 'adversarial.perceptual_layers=["relu5_4"]']
    assert fit.main([str(config_file), *set_all(settings)]) == 3
    assert "does not hold relu5_4" in capsys.readouterr().err


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
    (tmp_path / "config.json").write_text("{}")
    assert fit.main(["--resume", str(tmp_path)]) == 3
    assert "is not the folder of a run" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()  # nothing is left behind by a start that was refused


def test_every_shipped_configuration_loads() -> None:
    found = sorted((ROOT / "config").glob("*.toml"))
    names = {path.name for path in found} - {"node.toml"}
    assert names == {
        "seed.toml",
        "train-gan.toml",
        "train-gpu.toml",
        "train-lite.toml",
        "train-smoke.toml",
        "train.toml",
    }
    for name in names:
        config = configuration.read(ROOT / "config" / name)
        Generator(config.generator)
        Critic(config.critic, config.generator.channels)


@pytest.mark.parametrize("file", ["train.toml", "train-gan.toml", "train-lite.toml"])
def test_the_shipped_weights_were_made_with_the_shipped_configuration(file: str) -> None:
    config = configuration.read(ROOT / "config" / file)
    card = checkpoint.read_card(checkpoint.find(config.name))
    assert card.architecture == config.generator
    assert card.training["steps_done"] == config.steps
    recipe = config.recipe()
    assert {key: card.training[key] for key in recipe} == recipe
