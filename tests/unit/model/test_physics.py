"""The physics suite: right about what is known, blind to nothing that it is there to see."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from dicom_sr_node.tools import phantom
from model import checkpoint
from model.interpolation import bicubic, consistent
from model.physics import noise, phantoms, rings, suite, transfer
from model.torch_backend import TorchBackend
from model.upscaler import Upscaler


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("frequency", [0.25, 0.5, 0.75])
def test_the_edge_estimator_is_right_about_known_kernels(scale: int, frequency: float) -> None:
    high, low = transfer.original(scale, 0.6)
    images = {
        "original": high,
        "nearest": np.kron(low, np.ones((scale, scale))),
        "bicubic": suite._classical(bicubic, scale, low),
    }
    for kind, image in images.items():
        known = transfer.known_mtf(kind, frequency, scale)
        assert transfer.edge_response(image.astype(np.float64), scale).at(frequency) == pytest.approx(
            known, abs=0.013
        ), kind


def generators_of(upscaler: Upscaler) -> Any:
    """Its generators by scale."""
    assert isinstance(upscaler._backend, TorchBackend)
    return upscaler._backend._generators


def test_known_values_are_those_of_theory() -> None:
    assert transfer.known_mtf("original", 0.5, 4) == pytest.approx(0.974, abs=0.001)
    assert transfer.known_mtf("nearest", 0.5, 4) == pytest.approx(0.416, abs=0.001)
    assert transfer.known_mtf("bicubic", 0.5, 4) == pytest.approx(0.314, abs=0.001)


def test_an_estimator_that_is_wrong_gives_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slant that does not run through whole phases misreads nearest neighbour."""
    monkeypatch.setattr(transfer, "SLOPE", 9)
    with pytest.raises(suite.NoVerdict, match="the estimator says"):
        suite.check_estimator(4)


def test_a_disc_is_seen_as_well_as_theory_says() -> None:
    """d' of an ideal observer: contrast times the root of the disc's energy over the noise."""
    ours = partial(suite._classical, lambda low, scale: low, 1)
    found = noise.detectability(*noise.scores(ours, 1, 12, 30, 160))
    energy = np.sum((phantoms.disc(noise.PATCH, 12) - phantoms.disc(noise.PATCH, 12).mean()) ** 2)
    assert found == pytest.approx(30 * np.sqrt(energy) / 160, rel=0.1)


def test_white_noise_has_a_white_spectrum() -> None:
    _, power = noise.power(phantoms.noise(256, 40, seed=3), 1)
    assert power[2:30].std() < 0.2 * power[2:30].mean()


def test_ring_correlation_tells_other_detail_from_the_original() -> None:
    original = phantom.draw(256, seed=1).astype(np.float64)
    assert rings.disagreeing(original, original, 4)[0] == 0
    other = phantom.draw(256, seed=1)[::-1].astype(np.float64)
    found, patches = rings.disagreeing(other, original, 4)
    assert found > 0.5 * patches


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    return [phantom.draw(256, seed=1)]


def failing(found: suite.Examination) -> set[str]:
    return {row.test.split(":")[0] for scale in found.scales for row in scale.rows if not row.passed}


def altered(upscaler: Upscaler, change: float) -> Upscaler:
    """Detail of the last layer times a factor, at x4 alone, which is enough to fail."""
    generator = copy.deepcopy(generators_of(upscaler)[4])
    last = [layer for layer in generator.tail.modules() if isinstance(layer, torch.nn.Conv2d)][-1]
    with torch.no_grad():
        for part in last.parameters():
            part.mul_(change)
    return Upscaler(TorchBackend({4: generator}, torch.device("cpu")), replace(upscaler.card, scales=(4,)))


def test_weights_that_invent_texture_fail(upscaler: Upscaler, images: list[np.ndarray]) -> None:
    generator = copy.deepcopy(generators_of(upscaler)[4])
    torch.manual_seed(0)
    last = [layer for layer in generator.tail.modules() if isinstance(layer, torch.nn.Conv2d)][-1]
    with torch.no_grad():
        last.weight += 0.05 * torch.randn_like(last.weight)
    inventive = Upscaler(TorchBackend({4: generator}, torch.device("cpu")), replace(upscaler.card, scales=(4,)))
    found = suite.examine(inventive, images, "a drawn chest")
    assert not found.passed
    assert "flat noise" in failing(found)


def test_weights_that_sharpen_twice_fail_and_those_that_do_nothing_too(
    upscaler: Upscaler, images: list[np.ndarray]
) -> None:
    assert "edge" in failing(suite.examine(altered(upscaler, 2.0), images, "a drawn chest"))
    assert "edge" in failing(suite.examine(altered(upscaler, 0.0), images, "a drawn chest"))  # too soft


def test_the_shipped_lite_weights_pass_as_their_card_says(upscaler: Upscaler, images: list[np.ndarray]) -> None:
    found = suite.examine(upscaler, images, "a drawn chest")
    assert failing(found) == set()
    kept = upscaler.card.physics
    for scale in found.scales:
        told = {row["test"]: row["value"] for row in kept[f"x{scale.scale}"]["rows"]}
        for row in scale.rows:
            if not row.test.startswith("ring"):  # measured on radiographs in the card
                assert row.value == pytest.approx(told[row.test], abs=0.02), row.test


def test_every_shipped_weight_is_proven() -> None:
    for name in checkpoint.available():
        assert checkpoint.read_card(checkpoint.find(name)).unproven == "", name


def test_the_consistent_interpolation_amplifies_noise_as_is_known() -> None:
    low = phantoms.stored(phantoms.GRAY + phantoms.noise(192, 40, seed=1))
    for scale, known in ((2, 1.060), (4, 1.133)):
        assert suite._classical(consistent, scale, low).std() / low.std() == pytest.approx(known, abs=0.005)
