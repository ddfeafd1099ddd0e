"""The guarantee: block means are the source, bit for bit, whatever the generator says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.consistency import block_sums, enforce, project

RANGES = [(0, 255), (0, 4095), (0, 65535), (-32768, 32767), (-512, 511), (0, 1)]


def upsampled(source: NDArray[Any], scale: int) -> NDArray[np.float32]:
    return np.repeat(np.repeat(source, scale, axis=0), scale, axis=1).astype(np.float32)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([2, 4, 8]),
    value_range=st.sampled_from(RANGES),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    strength=st.sampled_from([0.0, 0.3, 1.0, 1000.0]),
    saturated=st.floats(0, 1),
)
def test_block_sums_equal_the_source_exactly(
    seed: int, scale: int, value_range: tuple[int, int], shape: tuple[int, int], strength: float, saturated: bool
) -> None:
    random = np.random.default_rng(seed)
    low, high = value_range
    source = random.integers(low, high + 1, shape)
    source[random.random(shape) < saturated] = random.choice([low, high])
    wild = upsampled(source, scale)
    wild += (random.normal(0, strength * (high - low), wild.shape)).astype(np.float32)
    result = enforce(wild, source, value_range=value_range)
    assert np.array_equal(block_sums(result, scale), source.astype(np.int64) * scale**2)
    assert result.min() >= low
    assert result.max() <= high


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), padding=st.sampled_from([(0, 0), (4095, 4095), (100, 120), (2000, 2000)]))
def test_padding_stays_where_it_is_and_nothing_else_becomes_padding(seed: int, padding: tuple[int, int]) -> None:
    random = np.random.default_rng(seed)
    source = random.integers(0, 4096, (8, 8))
    source[random.random((8, 8)) < 0.3] = padding[0]
    wild = upsampled(source, 4) + random.normal(0, 800, (32, 32)).astype(np.float32)
    result = enforce(wild, source, value_range=(0, 4095), padding=padding)
    is_padding = (source >= padding[0]) & (source <= padding[1])
    assert np.array_equal(
        (result >= padding[0]) & (result <= padding[1]), upsampled(is_padding.astype(np.int64), 4).astype(bool)
    )
    assert np.array_equal(block_sums(result, 4), source * 16)


def test_detail_that_fits_is_kept_to_within_one_value() -> None:
    random = np.random.default_rng(1)
    source = random.integers(1000, 3000, (16, 16))
    detail = random.normal(0, 50, (64, 64)).astype(np.float32)
    detail -= upsampled(block_means(detail), 4)
    wanted = upsampled(source, 4) + detail
    result = enforce(wanted, source, value_range=(0, 4095))
    assert np.abs(result - wanted).max() < 1.01


def test_the_largest_remainders_are_rounded_up() -> None:
    source = np.array([[10]])
    wanted = np.array([[10.9, 10.1], [9.6, 9.4]], np.float32)
    assert enforce(wanted, source, value_range=(0, 255)).tolist() == [[11, 10], [10, 9]]


def test_a_block_without_room_is_flat() -> None:
    result = enforce(np.array([[300.0, -50.0], [0.0, 7.0]], np.float32), np.array([[255]]), value_range=(0, 255))
    assert result.tolist() == [[255, 255], [255, 255]]


@pytest.mark.parametrize("scale", [2, 4])
def test_the_training_form_moves_block_means_to_the_low_image(scale: int) -> None:
    low = torch.rand(2, 1, 5, 6)
    high = project(torch.rand(2, 1, 5 * scale, 6 * scale), low)
    assert torch.allclose(torch.nn.functional.avg_pool2d(high, scale), low, atol=1e-6)


def block_means(image: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = image.shape
    return image.reshape(height // 4, 4, width // 4, 4).mean(axis=(1, 3))
