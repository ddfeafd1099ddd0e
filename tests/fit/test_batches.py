"""Batches follow from the seed alone, and low images from high ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from fitkit import ADVERSARIAL, read

from training import images as pictures
from training.batches import Batches
from training.config import TrainingConfig
from training.degrade import AreaMean, Bicubic, Jpeg, Noise, Quantise, Scene, degrade


def batches(config: TrainingConfig, rank: int = 0) -> Batches:
    loaded, _ = pictures.load(pictures.find_images(config.data.root), config.data)
    return Batches(loaded, config, rank=rank)


def test_a_batch_follows_from_seed_and_draw_alone(config_file: Path) -> None:
    one, again = (batches(read(config_file)) for _ in range(2))
    assert torch.equal(one[5].high, again[5].high)
    assert not torch.equal(one[5].high, one[4].high)
    assert not torch.equal(one[5].high, batches(read(config_file, "seed=4"))[5].high)


def test_processes_share_out_what_one_would_have_drawn(config_file: Path) -> None:
    whole = batches(read(config_file, "content.batch=4"))[3]
    halves = [batches(read(config_file), rank)[3] for rank in range(2)]
    for part in ("high", "low", "share"):
        assert torch.equal(getattr(whole, part), torch.cat([getattr(half, part) for half in halves]))


def test_a_step_of_the_critic_s_stage_draws_for_the_critic_too(config_file: Path) -> None:
    drawn = batches(read(config_file, *ADVERSARIAL))
    assert [drawn.first(step) for step in (0, 5, 6, 7, 10)] == [0, 5, 6, 9, 18]


def test_low_is_the_degraded_high_on_the_same_scale(config_file: Path) -> None:
    batch = batches(read(config_file, 'degrade=["area_mean"]'))[0]
    assert torch.allclose(batch.low, torch.nn.functional.avg_pool2d(batch.high, 4), atol=1e-5)


@pytest.mark.parametrize("name", ["flip", "turn", "zoom", "contrast"])
def test_each_augmentation_changes_what_is_seen_and_keeps_low_and_high_together(config_file: Path, name: str) -> None:
    plain, changed = (
        batches(read(config_file, f"data.augment={names}", "content.batch=8", 'degrade=["area_mean"]'))[0]
        for names in ("[]", f'["{name}"]')
    )
    assert plain.high.shape == changed.high.shape
    assert not torch.equal(plain.high, changed.high)
    assert torch.allclose(changed.low, torch.nn.functional.avg_pool2d(changed.high, 4), atol=1e-5)


def scene(peak: float = 255) -> Scene:
    return Scene(4, peak, np.random.default_rng(1))


def test_area_mean_and_quantisation_on_known_answers() -> None:
    high = np.arange(64, dtype=np.float32).reshape(8, 8)
    assert degrade(high, (AreaMean(),), scene()).flatten().tolist() == [13.5, 17.5, 45.5, 49.5]
    assert degrade(high, (AreaMean(), Quantise()), scene()).flatten().tolist() == [14, 18, 46, 50]


def test_noise_has_the_variance_it_says() -> None:
    flat = np.full((200, 200), 100, np.float32)
    noisy = Noise(gain=0.5, read=2).apply(flat, scene())
    assert noisy.mean() == pytest.approx(100, abs=0.3)
    assert noisy.var() == pytest.approx(0.5 * 100 + 2**2, rel=0.05)


def test_jpeg_is_worse_at_low_quality_and_keeps_the_range_of_deep_images() -> None:
    random = np.random.default_rng(0)
    image = (np.kron(random.random((8, 8)), np.ones((8, 8))) * 4095).astype(np.float32)
    errors = [np.abs(Jpeg(quality=(q, q)).apply(image, scene(4095)) - image).mean() for q in (10, 95)]
    assert errors[1] < errors[0] < 400


def test_bicubic_shrinks_without_shifting() -> None:
    ramp = np.tile(np.arange(32, dtype=np.float32), (32, 1))
    low = Bicubic().apply(ramp, scene())
    assert np.abs(low[:, 2:-2] - AreaMean().apply(ramp, scene())[:, 2:-2]).max() < 0.01


def test_steps_are_named_in_the_configuration(config_file: Path) -> None:
    config = read(config_file, 'degrade=["noise", "bicubic", {step="jpeg", quality=[40, 60]}, "quantise"]')
    assert config.degrade == (Noise(), Bicubic(), Jpeg(quality=(40, 60)), Quantise())
    assert TrainingConfig(**config.as_dict()) == config
