"""What each stage minimises, put together from its parts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.training import ADVERSARIAL, read
from torch import Tensor

from model.architectures import build
from training.batches import Batch
from training.objectives import AdversarialObjective
from training.parallel import ProcessGroup
from training.trainer import Trainer


def batch(size: int = 4) -> Batch:
    return Batch(torch.rand(size, 1, 32, 32), torch.rand(size, 1, 8, 8), torch.rand(size, 1, 1, 1))


def test_the_generator_pays_for_pixels_score_features_and_its_upsampling_weights(config_file: Path) -> None:
    settings = (*ADVERSARIAL[:3], "adversarial.vgg=x", "adversarial.adversarial_weight=3", "adversarial.pixel_weight=5")
    config = read(
        config_file,
        *settings,
        "adversarial.perceptual_weight=7",
        "generator.tail=stages",
        "adversarial.upsampling_decay=0.5",
    )
    generator = build(config.generator)
    objective = AdversarialObjective(generator, config, half=False)

    def critic(image: Tensor, low: Tensor) -> Tensor:
        return image.new_full((len(image),), 2.0)

    def features(image: Tensor) -> list[Tensor]:
        return [2 * image]

    found = objective(batch(), critic, features)
    assert found["adversarial"].item() == pytest.approx(-2)
    assert found["perceptual"].item() > 0
    decay = sum(weight.square().sum() for weight in generator.upsampling_weights())
    assert decay > 0
    wanted = 5 * found["pixel"] - 6 + 7 * found["perceptual"] + 0.5 * decay
    assert found["loss"].item() == pytest.approx(wanted.item())


def test_the_slope_is_measured_part_by_part_like_everything_else(config_file: Path) -> None:
    settings = [s for s in ADVERSARIAL if ".batch=" not in s]
    settings += ["generator.batch_norm=false", "content.batch=4", "adversarial.batch=4"]
    whole, parts = (
        Trainer(read(config_file, *settings, f"accumulate={n}"), ProcessGroup(torch.device("cpu")), None)
        for n in (1, 4)
    )
    seen: list[int] = []
    parts.critic.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    one = batch()
    assert parts.slope(one) == pytest.approx(whole.slope(one), rel=1e-4)
    assert seen == [1, 1, 1, 1]
