"""What holds for any image: no seam between tiles, memory that does not grow without end, the same bytes again."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from support.images import image, save, set_pixels
from support.tools import ENVIRONMENT, ROOT

from dicom_sr_node.tools import phantom
from model import tiles
from model.consistency import block_sums
from model.upscaler import Upscaler

GIB = 1 << 30

_MEASURED = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
sys.exit(done.returncode)
"""


def test_an_image_of_four_megapixels_takes_less_than_one_and_a_half_gigabytes(tmp_path: Path) -> None:
    ds = image()
    set_pixels(ds, phantom.draw(200, seed=3).repeat(10, 0).repeat(10, 1))
    source, target = save(ds, tmp_path / "large.dcm"), tmp_path / "derived.dcm"
    command = [sys.executable, "-m", "dicom_sr_node", "upscale", source, "-o", target, "--scale", "4"]
    command += ["--model", "xr-lite"]
    environment = {**ENVIRONMENT, "SRNODE__MODEL__MAX_OUTPUT_MEGAPIXELS": "150"}
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert target.stat().st_size > 8000 * 8000 * 2
    assert int(done.stdout.split()[-1]) < 1.5 * GIB


def borders(length: int, upscaler: Upscaler, scale: int) -> list[int]:
    """Where one tile passes into the next, in high pixels: each end of each overlap."""
    spans = tiles.spans(length, upscaler.card.tile, upscaler.card.overlap)
    places = [place for before, after in pairwise(spans) for place in (after.start, before.stop)]
    return [place * scale for place in places]


@pytest.mark.parametrize("scale", [2, 4])
def test_the_gradient_across_tile_borders_is_no_larger_than_elsewhere(upscaler: Upscaler, scale: int) -> None:
    low = phantom.draw(400, seed=11)
    high = upscaler.upscale(low, scale, value_range=(0, 4095)).astype(np.float64)
    for across in (high, high.T):
        at = np.array(borders(400, upscaler, scale))
        assert len(at) >= 4
        steps = np.abs(np.diff(across, axis=1)).mean(axis=0)  # step i lies between columns i and i + 1
        block = steps[: len(steps) // scale * scale].reshape(-1, scale)
        for place in at:
            # the same place within a block, in the blocks around: steps across a block's edge differ from those inside
            near = block[max(0, place // scale - 12) : place // scale + 11, scale - 1]
            assert steps[place - 1] <= near.mean() + 3 * near.std()


def seam(image: NDArray[np.float64], at: int) -> float:
    steps = np.abs(np.diff(image, axis=1)).mean(axis=0)
    return float(steps[at - 1])


def test_a_seam_would_be_seen(upscaler: Upscaler) -> None:
    low = phantom.draw(400, seed=11)
    high = upscaler.upscale(low, 4, value_range=(0, 4095)).astype(np.float64)
    at = borders(400, upscaler, 4)[0]
    broken = high.copy()
    broken[:, at:] += 80  # two percent of the range
    assert seam(broken, at) > 2 * seam(high, at)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 3), (17, 129), (131, 64)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16])
@pytest.mark.parametrize("scale", [2, 4])
def test_any_size_and_depth_keeps_its_block_means(
    upscaler: Upscaler, shape: tuple[int, int], dtype: type[np.integer], scale: int
) -> None:
    limits = np.iinfo(dtype)
    low = np.random.default_rng(1).integers(limits.min, limits.max + 1, shape).astype(dtype)
    low[: shape[0] // 2] = limits.max  # saturated
    high = upscaler.upscale(low, scale)
    assert high.dtype == dtype
    assert np.array_equal(block_sums(high, scale), low.astype(np.int64) * scale**2)
    assert (high.min(), high.max()) == (low.min(), low.max()) or high.size > low.size


def test_the_same_image_gives_the_same_bytes(upscaler: Upscaler) -> None:
    low = phantom.draw(200, seed=5)
    assert upscaler.upscale(low, 4).tobytes() == Upscaler.load("xr-lite", "cpu", "float32").upscale(low, 4).tobytes()
