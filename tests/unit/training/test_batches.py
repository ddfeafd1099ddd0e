"""Batches follow from the seed alone, and low images from high ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.training import ADVERSARIAL, read

from training import images as pictures
from training import phantoms
from training.batches import Batches
from training.config import ConfigError, TrainingConfig, build
from training.degrade import AreaMean, Bicubic, Jpeg, Noise, Quantise, Scene, degrade, scene_of


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


@pytest.mark.parametrize("name", ["flip", "turn", "zoom", "contrast", "gamma", "overlay"])
def test_each_augmentation_changes_what_is_seen_and_keeps_low_and_high_together(config_file: Path, name: str) -> None:
    plain, changed = (
        batches(read(config_file, f"data.augment={names}", "content.batch=64", 'degrade=["area_mean"]'))[0]
        for names in ("[]", f'["{name}"]')
    )
    assert plain.high.shape == changed.high.shape
    assert not torch.equal(plain.high, changed.high)
    assert torch.allclose(changed.low, torch.nn.functional.avg_pool2d(changed.high, 4), atol=1e-5)


@pytest.mark.parametrize("view", ["whole", "fit", "native", "phantom"])
def test_each_view_gives_crops_of_its_own(config_file: Path, images: Path, view: str) -> None:
    """The images are 80 pixels wide, wholes are 64: what is cut at native resolution is coarser in its detail."""
    shares = {f"data.{name}_share": float(name == view) for name in ("whole", "fit", "phantom")}
    settings = [f"{key}={value}" for key, value in shares.items()]
    batch = batches(read(config_file, *settings, "content.batch=8", 'degrade=["area_mean"]'))[0]
    assert batch.high.shape == (8, 1, 32, 32)
    other = batches(read(config_file, "data.whole_share=0.5", "content.batch=8", 'degrade=["area_mean"]'))[0]
    assert not torch.equal(batch.high, other.high)


def test_parts_at_native_resolution_are_never_taken_for_whole_images(config_file: Path, images: Path) -> None:
    (images / "NORMAL").rename(images / "native")
    with pytest.raises(ConfigError, match=r"no image is left for the view 'whole'"):
        batches(read(config_file, 'data.native=["native"]'))
    only = ('data.native=["native"]', "data.whole_share=0")
    assert batches(read(config_file, *only))[0].high.shape == (2, 1, 32, 32)


def test_deeper_detectors_round_finer(config_file: Path) -> None:
    values = {
        names: batches(read(config_file, f"data.augment={names}", "content.batch=64"))[0].low.unique().numel()
        for names in ("[]", '["depth"]')
    }
    assert values['["depth"]'] > 2 * values["[]"]


@pytest.mark.parametrize("scale", [2, 4])
def test_phantoms_are_drawn_on_any_size_and_most_line_pairs_are_too_fine(scale: int) -> None:
    random = np.random.default_rng(4)
    for _ in range(40):
        drawn = phantoms.draw(48, scale, random)
        assert (drawn.shape, drawn.dtype) == ((48, 48), np.dtype(np.float32))
        assert np.isfinite(drawn).all()
        assert np.isfinite(phantoms.overlay(drawn, random)).all()
    spectra = [np.abs(np.fft.fft2(phantoms.draw(64, scale, random, 1.0) - 0.5)) for _ in range(40)]
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64)))
    peaks = [frequency.ravel()[spectrum.argmax()] * scale for spectrum in spectra]
    assert np.mean(np.array(peaks) > 0.48) > 0.5


def scene(peak: float = 255) -> Scene:
    return Scene(4, 0.0, peak, 0.0, peak, 1.0, np.random.default_rng(1))


def test_area_mean_and_quantisation_on_known_answers() -> None:
    high = np.arange(64, dtype=np.float32).reshape(8, 8)
    assert degrade(high, (AreaMean(),), scene()).flatten().tolist() == [13.5, 17.5, 45.5, 49.5]
    assert degrade(high, (AreaMean(), Quantise()), scene()).flatten().tolist() == [14, 18, 46, 50]


def test_noise_has_the_variance_it_says() -> None:
    """Of the quanta, growing with the signal, and of the read-out; both relative to the image's own range."""

    class Whole:
        """All of it, and white."""

        def random(self) -> float:
            return 1.0 - 1e-12

        standard_normal = np.random.default_rng(1).standard_normal

    for value, span in ((100, 200.0), (100, 400.0)):
        flat = np.full((200, 200), value, np.float32)
        at = Scene(4, 0.0, span, 0.0, 4095.0, 1.0, Whole())  # type: ignore[arg-type]
        noisy = Noise(quanta=0.03, readout=0.02).apply(flat, at)
        assert noisy.mean() == pytest.approx(value, abs=0.3)
        assert noisy.var() == pytest.approx((0.03 * span) ** 2 * value / span + (0.02 * span) ** 2, rel=0.05)


def test_half_of_the_noise_is_smooth_with_the_same_variance() -> None:
    flat, correlations = np.full((100, 100), 128, np.float32), []
    for seed in range(40):
        noisy = Noise(quanta=0, readout=0.1).apply(flat, scene()._replace(random=np.random.default_rng(seed))) - 128
        correlations.append(float((noisy[:, 1:] * noisy[:, :-1]).mean() / noisy.var()))
    assert {round(c, 1) for c in correlations} <= {0.0, 0.6, 0.7}
    assert 5 < sum(c > 0.5 for c in correlations) < 35


def test_jpeg_is_worse_at_low_quality_and_keeps_the_range_of_deep_images() -> None:
    random = np.random.default_rng(0)
    image = (np.kron(random.random((8, 8)), np.ones((8, 8))) * 4095).astype(np.float32)
    errors = [np.abs(Jpeg(quality=(q, q)).apply(image, scene(4095)) - image).mean() for q in (10, 95)]
    assert errors[1] < errors[0] < 400
    faint = (image / 100 + 1000).astype(np.float32)  # of its own range, not of its container's
    error = np.abs(Jpeg(quality=(95, 95)).apply(faint, scene_of(faint, 4095, 4, np.random.default_rng(0))) - faint)
    assert error.mean() == pytest.approx(errors[1] / 100, rel=0.1)


def test_bicubic_shrinks_without_shifting() -> None:
    ramp = np.tile(np.arange(32, dtype=np.float32), (32, 1))
    low = Bicubic().apply(ramp, scene())
    assert np.abs(low[:, 2:-2] - AreaMean().apply(ramp, scene())[:, 2:-2]).max() < 0.01


def test_steps_are_named_in_the_configuration(config_file: Path) -> None:
    config = read(config_file, 'degrade=["noise", "bicubic", {step="jpeg", quality=[40, 60]}, "quantise"]')
    assert config.degrade == (Noise(), Bicubic(), Jpeg(quality=(40, 60)), Quantise())
    assert build(config.as_dict(), "here") == config
