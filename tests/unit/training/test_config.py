"""The configuration: each mistake is named with its key and the remedy, before anything is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.tools import ROOT, shared
from support.training import set_all

from model import checkpoint
from model.architectures import build
from model.critic import Critic
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
        "train-tune.toml",
        "train-lite.toml",
        "train-smoke.toml",
        "train.toml",
    }
    for name in names:
        config = configuration.read(ROOT / "config" / name)
        build(config.generator)
        Critic(config.critic, config.generator.channels)


X2 = "generator.scale=2"
LITE = ("content.batch=16", "precision=bfloat16", "pixel=relative_rms", "teacher.weights=")
LITE_X4: tuple[str, ...] = (
    *LITE,
    "content.steps=34000",
    "content.learning_rate=8e-4",
    "data.whole_share=0.55",
    "data.fit_share=0.13",
)
LITE_X4 += ("data.phantom_share=0.12", "data.bars_share=0.3", "data.bars_above=0.6")
LITE_SHORT: tuple[str, ...] = (*LITE, "data.whole_share=0.45", "data.fit_share=0.1", "content.warmup_steps=20")
LITE_EDGES: tuple[str, ...] = (*LITE_SHORT, "content.steps=1500", "content.learning_rate=5e-4", "average=0.99")
LITE_EDGES += ("data.phantom_share=0.3", "data.bars_share=0.3", "data.bars_above=0.55")
LITE_BARS: tuple[str, ...] = (*LITE_SHORT, "content.steps=450", "content.learning_rate=1.5e-4", "average=0.98")
LITE_BARS += ("data.phantom_share=0.25", "data.bars_share=0.6", "data.bars_above=0.8")
LITE_X2: tuple[str, ...] = (
    *LITE,
    X2,
    "content.steps=11500",
    "content.learning_rate=1e-3",
    "data.whole_share=0.25",
    "data.fit_share=0.1",
)
LITE_X2 += ("data.phantom_share=0.2", "data.bars_share=0.5", "average=0.9995")
MADE = [  # weights, scale, how many stages back, the configuration of that stage, and what was set beside it
    ("xr", 4, 1, "train.toml", ()),
    ("xr", 2, 1, "train.toml", (X2, "data.crop=128")),
    ("xr", 4, 0, "train-tune.toml", ()),
    ("xr", 2, 0, "train-tune.toml", (X2, "data.crop=96")),
    ("xr-gan", 4, 0, "train-gan.toml", ()),
    ("xr-gan", 2, 0, "train-gan.toml", (X2,)),
    ("xr-lite", 4, 2, "train-lite.toml", LITE_X4),
    ("xr-lite", 4, 1, "train-lite.toml", LITE_EDGES),
    ("xr-lite", 4, 0, "train-lite.toml", LITE_BARS),
    ("xr-lite", 2, 0, "train-lite.toml", LITE_X2),
]


@pytest.mark.parametrize(("name", "scale", "back", "file", "settings"), MADE)
def test_the_shipped_weights_were_made_with_the_shipped_configurations(
    name: str, scale: int, back: int, file: str, settings: tuple[str, ...]
) -> None:
    config = configuration.read(ROOT / "config" / file, settings)
    card = checkpoint.read_card(checkpoint.find(name))
    assert replace(card.architecture, scale=scale) == config.generator
    made = card.training[f"x{scale}"]
    for _ in range(back):
        made = made["before"]
    recipe = config.recipe()
    del recipe["start"]  # the weights had another place then
    assert common(made, recipe) == common(recipe, made)


def common(one: Any, other: Any) -> Any:
    """What both have, all the way down: keys that came later have the default that was the only way before."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {key: common(value, other[key]) for key, value in one.items() if key in other}
    return one
