"""The shipped weights keep what the README and their cards say, on patients that they never saw."""

from __future__ import annotations

import numpy as np
import pytest
from support.tools import shared

from model import checkpoint
from model.generator import GeneratorConfig
from model.upscaler import Upscaler
from training import evaluation_set, images
from training.baselines import BACK_PROJECTION, CLASSICAL, Method, by_upscaler
from training.evaluation_set import Case, Question
from training.patients import is_validation, patient_of

LITE, FULL, GAN = "xr-lite", "xr", "xr-gan"
BESIDE = ("bicubic", BACK_PROJECTION)


def held_out(question: Question, every: int) -> list[Case]:
    root = shared("xray", "native" if question.protocol == "native" else "images")
    found = [path for path in images.find_images(root) if is_validation(patient_of(path, root), 5)]
    return [evaluation_set.case(path, question) for path in found[::every]]


def measured(question: Question, every: int, *names: str) -> dict[str, dict[str, np.ndarray]]:
    methods: dict[str, Method] = {name: by_upscaler(Upscaler.load(name, "cpu")) for name in names}
    methods |= {name: CLASSICAL[name] for name in BESIDE}
    rows = [evaluation_set.measure(case, methods, question.scale) for case in held_out(question, every)]
    return {
        name: {metric: np.array([row[name][metric] for row in rows]) for metric in rows[0][name]} for name in rows[0]
    }


def test_every_shipped_file_is_what_its_card_describes_and_small() -> None:
    assert set(checkpoint.available()) == {LITE, FULL, GAN}
    for name in checkpoint.available():
        path = checkpoint.find(name)
        _, card = checkpoint.load(path)
        assert (card.name, card.scales) == (name, (4, 2))
        assert card.licence
        assert card.weaknesses
        assert path.stat().st_size < 12_000_000
        for stage in card.training.values():
            assert "/" not in stage.get("start", {}).get("weights", "")
        for table in card.metrics["tables"]:
            assert {"bicubic", "lanczos", "back-projection", "consistent", name} == set(table["methods"]) - {
                "nearest",
                "bilinear",
            }


def test_lite_is_at_most_a_ninth_of_the_full_generator() -> None:
    lite, full = (checkpoint.read_card(checkpoint.find(name)).architecture for name in (LITE, FULL))
    assert isinstance(lite, GeneratorConfig)
    assert isinstance(full, GeneratorConfig)
    assert arithmetic(lite) <= arithmetic(full) / 9
    assert arithmetic(lite) <= arithmetic(GeneratorConfig()) / 15


def arithmetic(config: GeneratorConfig) -> int:
    """Multiplications of the convolutions for each low pixel, attention left out."""
    width, edge = config.width, config.edge_kernel**2
    trunk = config.channels * width * edge + (2 * config.blocks + 1) * 9 * width**2
    if config.tail == "shuffle":
        return trunk + 9 * width * config.channels * config.scale**2
    stages = sum(9 * width * 4 * width * 4**stage for stage in range(config.scale.bit_length() - 1))
    return trunk + stages + width * config.channels * edge * config.scale**2


@pytest.mark.parametrize(
    ("name", "scale", "every", "gain"), [(LITE, 4, 2, 1.9), (LITE, 2, 4, 2.0), (FULL, 4, 4, 2.5), (GAN, 4, 4, 1.2)]
)
def test_whole_images_are_above_bicubic_each(name: str, scale: int, every: int, gain: float) -> None:
    found = measured(Question("whole", scale), every, name)
    gains = found[name]["psnr"] - found["bicubic"]["psnr"]
    assert len(gains) > 15
    assert gains.mean() > gain
    assert gains.min() > 0
    assert (found[name]["consistency_error"] == 0).all()


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize(("name", "every"), [(LITE, 3), (FULL, 8)])
def test_at_native_resolution_nothing_is_lost_to_back_projection(name: str, scale: int, every: int) -> None:
    found = measured(Question("native", scale), every, name)
    gains = found[name]["psnr"] - found[BACK_PROJECTION]["psnr"]
    assert gains.mean() > 0.1
    assert (gains >= -0.03).mean() >= 0.95


def test_the_adversarial_weights_have_more_of_the_original_s_texture() -> None:
    found = measured(Question("whole", 4), 8, GAN, FULL)
    assert found[GAN]["detail"].mean() > 1.05 * found[FULL]["detail"].mean()
    assert found[GAN]["spectrum"].mean() < found[FULL]["spectrum"].mean()


@pytest.mark.parametrize("scale", ["x4", "x2"])
def test_the_adversarial_weights_met_a_critic_that_learned(scale: str) -> None:
    history = checkpoint.read_card(checkpoint.find(GAN)).training[scale]["history"]
    told = [line for line in history if line["stage"] == "adversarial"]
    assert len(told) >= 10
    assert min(line["critic_loss"] for line in told) < -0.1
    assert all(abs(line["slope"] - 1) < 0.5 for line in told[len(told) // 2 :])
