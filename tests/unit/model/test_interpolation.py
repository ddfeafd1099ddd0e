"""The consistent interpolation: the limit of back-projection, in one step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from model.interpolation import bicubic, consistent, phases, phases_of_bicubic


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (37, 50)])
def test_its_block_means_are_the_source_up_to_the_border(scale: int, shape: tuple[int, int]) -> None:
    low = torch.rand(2, 3, *shape)
    high = consistent(low, scale)
    assert high.shape == (2, 3, scale * shape[0], scale * shape[1])
    assert (F.avg_pool2d(high, scale) - low).abs().max() < 1e-6


@pytest.mark.parametrize("scale", [2, 4])
def test_it_is_what_back_projection_ends_at(scale: int) -> None:
    low = torch.rand(1, 1, 48, 48)
    high = bicubic(low, scale)
    for _ in range(60):
        high = high + bicubic(low - F.avg_pool2d(high, scale), scale)
    inner = slice(12 * scale, -12 * scale)
    assert (high - consistent(low, scale))[..., inner, inner].abs().max() < 1e-5
    assert (bicubic(low, scale) - consistent(low, scale)).abs().max() > 0.01


def test_the_filter_before_bicubic_has_the_known_taps() -> None:
    """AB for Keys' a = -1/2 at x2: (-.01172, .07812, .86719, .07812, -.01172)."""
    for scale, taps in ((2, [-0.01172, 0.07812, 0.86719]), (4, [-0.01270, 0.08984, 0.84570])):
        undone = np.array([np.convolve(place, [*taps, *taps[1::-1]]) for place in phases(scale)])
        middle = undone.shape[1] // 2
        keys = undone[:, middle - 2 : middle + 3]  # bicubic again: five taps, and nothing beyond
        assert np.abs(keys.sum(axis=1) - 1).max() < 1e-4
        assert np.abs(np.delete(undone, np.s_[middle - 2 : middle + 3], axis=1)).max() < 1e-4
        assert np.sort(keys.ravel())[-1] == pytest.approx(phases_of_bicubic(scale).max(), abs=1e-4)


def test_it_stays_exact_where_the_network_runs_in_half_precision() -> None:
    low = torch.rand(1, 1, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        assert (F.avg_pool2d(consistent(low, 4), 4) - low).abs().max() < 1e-6
