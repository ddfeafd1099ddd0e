"""The shipped weights keep what the README and their cards say, on patients that they never saw."""

from __future__ import annotations

import numpy as np
import pytest
from kit import ROOT, shared

from model import checkpoint
from model.generator import GeneratorConfig
from model.upscaler import Upscaler
from training import cases, images
from training.cases import Case
from training.methods import CLASSICAL, Method, by_upscaler
from training.patients import is_validation, patient_of

LITE, FULL, GAN = "cxr-x4-lite", "cxr-x4", "cxr-x4-gan"


def held_out(name: str, every: int) -> list[Case]:
    percent = checkpoint.read_card(checkpoint.find(name)).training["data"]["validation_percent"]
    root = shared("xray", "images")
    found = [path for path in images.find_images(root) if is_validation(patient_of(path, root), percent)]
    return [cases.case(path, "seed", "area", 4) for path in found[::every]]


def measured(chosen: list[Case], *names: str) -> dict[str, dict[str, np.ndarray]]:
    methods: dict[str, Method] = {name: by_upscaler(Upscaler.load(name, "cpu")) for name in names}
    rows = [cases.measure(case, {"bicubic": CLASSICAL["bicubic"], **methods}, 4) for case in chosen]
    return {
        name: {metric: np.array([row[name][metric] for row in rows]) for metric in rows[0][name]} for name in rows[0]
    }


def test_every_shipped_file_is_what_its_card_describes_and_small() -> None:
    assert set(checkpoint.available()) == {LITE, FULL, GAN}
    for name in checkpoint.available():
        path = checkpoint.find(name)
        _, card = checkpoint.load(path)
        assert card.name == name
        assert card.licence
        assert card.weaknesses
        assert "/" not in card.training.get("start", {}).get("weights", "")
        assert path.stat().st_size < 8_000_000
        for protocol in ("seed, low by area", "native, low by area"):
            found = card.metrics[protocol]
            assert found["weights"][name]["sha256"] == card.sha256
            assert {"bicubic", "lanczos", "back-projection", name} <= set(found["methods"])


def test_every_figure_that_is_told_is_the_one_that_was_measured() -> None:
    """One evaluation of all three stands in each card; the model card shows it whole, the README in part."""
    metrics, *others = (checkpoint.read_card(checkpoint.find(name)).metrics for name in (FULL, GAN, LITE))
    assert all(other == metrics for other in others)
    model_card, readme = ((ROOT / path).read_text() for path in ("docs/model-card.md", "README.md"))
    for evaluation in metrics.values():
        for method, means in evaluation["methods"].items():
            assert f"| {method} | {means['psnr']:.2f} | {means['psnr_shaved']:.2f} |" in model_card
    found = metrics["seed, low by area"]["methods"]
    for method in ("bicubic", "lanczos", "back-projection", LITE, FULL, GAN):
        means = found[method]
        assert f"| {method} | {means['psnr']:.2f} dB | {means['ssim']:.4f} | {means['gmsd']:.4f} |" in readme


def test_lite_is_at_most_a_fifteenth_of_the_seed() -> None:
    lite = checkpoint.read_card(checkpoint.find(LITE)).architecture
    assert arithmetic(lite) <= arithmetic(GeneratorConfig()) / 15


def arithmetic(config: GeneratorConfig) -> int:
    """Multiplications of the convolutions for each low pixel, attention left out."""
    width, edge = config.width, config.edge_kernel**2
    trunk = config.channels * width * edge + (2 * config.blocks + 1) * 9 * width**2
    if config.tail == "shuffle":
        return trunk + 9 * width * config.channels * config.scale**2
    stages = sum(9 * width * 4 * width * 4**stage for stage in range(config.scale.bit_length() - 1))
    return trunk + stages + width * config.channels * edge * config.scale**2


@pytest.mark.parametrize(("name", "every", "gain"), [(LITE, 2, 1.9), (FULL, 4, 2.0), (GAN, 4, 1.0)])
def test_they_are_above_bicubic_on_every_image(name: str, every: int, gain: float) -> None:
    found = measured(held_out(name, every), name)
    gains = found[name]["psnr"] - found["bicubic"]["psnr"]
    assert len(gains) > 15
    assert gains.mean() > gain
    assert gains.min() > 0
    assert (found[name]["consistency_error"] == 0).all()


def test_the_adversarial_weights_are_sharper_than_those_without() -> None:
    found = measured(held_out(GAN, 8), GAN, FULL)
    assert found[GAN]["detail"].mean() > 1.1 * found[FULL]["detail"].mean()


def test_the_adversarial_weights_met_a_critic_that_learned() -> None:
    history = checkpoint.read_card(checkpoint.find(GAN)).training["history"]
    told = [line for line in history if line["stage"] == "adversarial"]
    assert len(told) >= 10
    assert min(line["critic_loss"] for line in told) < -0.1
    assert all(abs(line["slope"] - 1) < 0.5 for line in told[len(told) // 2 :])
