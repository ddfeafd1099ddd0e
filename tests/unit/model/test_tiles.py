"""Tiles cover the image, agree where they meet, and never hold more than a batch."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.tiles import spans, strips


@given(length=st.integers(1, 700), tile=st.integers(12, 130))
def test_spans_cover_the_length_with_overlap_and_equal_size(length: int, tile: int) -> None:
    overlap = tile // 3
    found = spans(length, tile, overlap)
    assert found[0].start == 0
    assert found[-1].stop == length
    assert len({span.stop - span.start for span in found}) == 1
    assert found[0].stop <= tile
    for before, after in pairwise(found):
        assert before.start < after.start <= before.stop
    for first, third in zip(found, found[2:], strict=False):
        assert first.stop <= third.start  # no pixel in three spans


def test_an_overlap_that_tiles_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="overlap 50"):
        spans(1000, 100, 50)


@pytest.mark.parametrize("shape", [(1, 1), (40, 40), (41, 97), (200, 33), (129, 257)])
def test_a_local_function_comes_out_as_if_there_were_no_tiles(shape: tuple[int, int]) -> None:
    low = np.random.default_rng(0).random(shape, np.float32)

    def double(tiles: np.ndarray) -> np.ndarray:
        return np.repeat(np.repeat(tiles * 3, 2, axis=1), 2, axis=2)

    pieces = list(strips(low, double, scale=2, tile=40, overlap=10, batch_pixels=5000))
    assert [row for row, _ in pieces] == sorted({row for row, _ in pieces})
    assert np.allclose(np.concatenate([piece for _, piece in pieces]), double(low[None])[0], atol=1e-6)


def test_no_batch_is_larger_than_asked() -> None:
    seen = []

    def remember(tiles: np.ndarray) -> np.ndarray:
        seen.append(tiles.size)
        return np.repeat(np.repeat(tiles, 2, axis=1), 2, axis=2)

    list(strips(np.zeros((500, 500), np.float32), remember, scale=2, tile=64, overlap=16, batch_pixels=10_000))
    assert max(seen) <= 10_000


def test_tiles_that_disagree_pass_into_each_other_without_a_step() -> None:
    """Each tile answers with a constant of its own: the result must rise evenly over the shared pixels."""
    calls = iter(range(100))

    def constant(tiles: np.ndarray) -> np.ndarray:
        return np.stack([np.full((2 * t.shape[0], 2 * t.shape[1]), float(next(calls)), np.float32) for t in tiles])

    (_, row), *_ = strips(np.zeros((10, 60), np.float32), constant, scale=2, tile=40, overlap=12, batch_pixels=10)
    steps = np.diff(row[0])
    assert steps.max() <= 1 / 24 + 1e-6
    assert row[0, 0] == 0
    assert row[0, -1] == 1
