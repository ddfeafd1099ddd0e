"""The one door: stored values in, stored values out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dicom_sr_node.tools import phantom
from model import orientation
from model.backend import DeviceLost
from model.checkpoint import Card
from model.consistency import block_sums
from model.generator import Generator, GeneratorConfig
from model.intensity import Window
from model.interpolation import consistent
from model.tiles import spans
from model.torch_backend import TorchBackend
from model.upscaler import NotFinite, Upscaler


def exact(result: np.ndarray, source: np.ndarray, scale: int) -> bool:
    return np.array_equal(block_sums(result, scale), source.astype(np.int64) * scale**2)


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
@pytest.mark.parametrize("shape", [(1, 1), (16, 300), (61, 47), (150, 131)])
def test_any_size_and_depth_keeps_the_original_inside(
    upscaler: Upscaler, scale: int, dtype: type, shape: tuple[int, int]
) -> None:
    limits = np.iinfo(dtype)
    source = np.random.default_rng(3).integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    result = upscaler.upscale(source, scale)
    assert result.dtype == source.dtype
    assert result.shape == (shape[0] * scale, shape[1] * scale)
    assert exact(result, source, scale)


def torch_of(upscaler: Upscaler) -> TorchBackend:
    """What runs its generators."""
    assert isinstance(upscaler._backend, TorchBackend)
    return upscaler._backend


def test_monochrome1_comes_out_as_the_inverse_of_monochrome2(upscaler: Upscaler) -> None:
    source = phantom.draw(64)
    plain = upscaler.upscale(source, value_range=(0, 4095)).astype(int)
    inverted = upscaler.upscale(4095 - source, value_range=(0, 4095), inverted=True).astype(int)
    assert np.abs(4095 - inverted - plain).max() <= 1  # rounding of equal remainders


def test_the_same_image_gives_the_same_bytes(upscaler: Upscaler) -> None:
    source = phantom.draw(96)
    assert np.array_equal(upscaler.upscale(source), upscaler.upscale(source))


@pytest.mark.parametrize("scale", [2, 4])
def test_it_adds_detail_that_no_interpolation_does(upscaler: Upscaler, scale: int) -> None:
    source = (phantom.draw(64) >> 4).astype(np.uint8)
    classical = consistent(torch.from_numpy(source)[None, None].float(), scale)[0, 0].numpy()
    assert np.abs(upscaler.upscale(source, scale) - classical).max() > 3


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("shape", [(40, 57), (300, 140), (48, 48)])
def test_turning_or_mirroring_an_image_turns_or_mirrors_its_result(
    upscaler: Upscaler, scale: int, shape: tuple[int, int]
) -> None:
    source = phantom.draw(300, seed=2)[: shape[0], : shape[1]]
    result = upscaler.upscale(source, scale)
    for lying in orientation.ALL:
        assert np.array_equal(upscaler.upscale(lying.apply(source), scale), lying.apply(result))


def test_each_scale_has_a_network_of_its_own(upscaler: Upscaler) -> None:
    """x2 is no average of x4."""
    source = phantom.draw(64)
    double, fourfold = (upscaler.upscale(source, scale).astype(float) for scale in (2, 4))
    assert np.abs(fourfold.reshape(128, 2, 128, 2).mean(axis=(1, 3)) - double).max() > 3


def test_half_precision_changes_little(upscaler: Upscaler) -> None:
    source = phantom.draw(96)
    half = Upscaler.load("xr-lite", "cpu", "bfloat16")
    assert (half.recipe, upscaler.recipe) == ("bfloat16", "float32")
    apart = half.upscale(source).astype(float) - upscaler.upscale(source)
    assert np.abs(apart).max() > 0
    assert apart.std() < 0.001 * np.ptp(source)
    with pytest.raises(ValueError, match="precision must be auto, float32 or bfloat16, not 'half'"):
        Upscaler.load("xr-lite", "cpu", "half")


def test_no_seam_shows_where_tiles_meet(upscaler: Upscaler) -> None:
    """The step across a tile border is no larger than across the other block borders around it."""
    source = phantom.draw(300)
    result = upscaler.upscale(source, value_range=(0, 4095)).astype(np.float64)
    borders = {
        4 * edge for span in spans(300, upscaler.card.tile, upscaler.card.overlap) for edge in (span.start, span.stop)
    } - {0, 1200}
    steps = np.abs(np.diff(result, axis=1)).mean(axis=0)
    near = [steps[border - 1] for border in borders]
    around = [np.median(steps[border - 41 : border + 40 : 4]) for border in borders]
    assert np.mean(near) < 1.1 * np.mean(around)


@pytest.mark.parametrize(
    ("array", "scale", "message"),
    [
        (np.zeros((4, 4), np.float32), 4, "float32"),
        (np.zeros((4, 4, 3), np.uint8), 4, "shape"),
        (np.zeros((0, 4), np.uint8), 4, "shape"),
        (np.zeros((4, 4), np.int32), 4, "int32"),
        (np.zeros((4, 4), np.uint8), 3, "not by 3"),
    ],
)
def test_what_it_does_not_serve_is_refused(upscaler: Upscaler, array: np.ndarray, scale: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        upscaler.upscale(array, scale)


def test_values_beyond_the_declared_range_are_refused(upscaler: Upscaler) -> None:
    with pytest.raises(ValueError, match="leave the stored range 0 to 4095"):
        upscaler.upscale(np.full((8, 8), 5000, np.uint16), value_range=(0, 4095))


def test_an_answer_that_is_no_number_is_refused(upscaler: Upscaler) -> None:
    config = upscaler.card.architecture
    assert isinstance(config, GeneratorConfig)
    broken = Generator(config)
    torch.nn.init.constant_(next(broken.head.parameters()), float("nan"))
    card = Card(**{**vars(upscaler.card), "name": "broken"})
    with pytest.raises(NotFinite, match="broken"):
        Upscaler(TorchBackend({4: broken}, torch.device("cpu")), card).upscale(np.zeros((8, 8), np.uint8))


def test_progress_ends_at_one(upscaler: Upscaler) -> None:
    seen: list[float] = []
    upscaler.upscale(np.zeros((300, 20), np.uint8), progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1


def test_a_device_that_is_not_there_is_refused() -> None:
    if torch.cuda.is_available():
        assert Upscaler.load("xr-lite", "cuda").device == "cuda"
        return
    with pytest.raises(ValueError, match="no CUDA device"):
        Upscaler.load("xr-lite", "cuda")


def test_a_window_takes_its_ends_to_one_and_back() -> None:
    values = np.arange(1000, dtype=np.uint16)
    window = Window.of(values)
    unit = window.to_unit(values)
    assert -1.05 < unit.min() < -0.98
    assert 0.98 < unit.max() < 1.05
    assert np.allclose(window.to_stored(unit), values, atol=1e-3)
    assert np.allclose(Window.of(values, inverted=True).to_unit(values), -unit)


def test_a_flat_image_has_a_window_too() -> None:
    window = Window.of(np.full((4, 4), 7, np.uint16))
    assert window.half_width > 0
    assert np.isfinite(window.to_unit(np.full((4, 4), 7, np.uint16))).all()


def test_a_device_with_too_little_memory_gets_smaller_tiles(
    upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first sizes find no room; the result is what the whole tiles give, within the blending of their borders."""
    array = np.random.default_rng(3).integers(1000, 3000, (150, 150)).astype(np.uint16)
    whole = upscaler.upscale(array)
    backend, sizes = torch_of(upscaler), list[int]()
    run = backend._forward

    def cramped(scale: int, low: np.ndarray) -> np.ndarray:
        sizes.append(max(low.shape[1:]))
        if sizes[-1] > upscaler.card.tile // 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run(scale, low)

    monkeypatch.setattr(backend, "_forward", cramped)
    small = upscaler.upscale(array)
    assert min(sizes) <= upscaler.card.tile // 4
    assert np.array_equal(small.reshape(150, 4, 150, 4).mean(axis=(1, 3)), array)
    error = (small.astype(float) - whole).std() / (whole.max() - whole.min())
    assert -20 * np.log10(error) > 30  # dB: noise is the hardest case for borders


def test_a_device_without_any_room_is_a_failed_try_and_a_broken_one_ends_the_process(
    upscaler: Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = np.zeros((40, 40), np.uint16)

    def fails(error: Exception) -> None:
        def run(scale: int, low: np.ndarray) -> np.ndarray:
            raise error

        monkeypatch.setattr(torch_of(upscaler), "_forward", run)

    fails(torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(MemoryError, match="no room"):
        upscaler.upscale(array)
    fails(torch.AcceleratorError("CUDA error: an illegal memory access was encountered"))
    with pytest.raises(DeviceLost):
        upscaler.upscale(array)
