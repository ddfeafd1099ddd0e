"""The seed's architecture and its family."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from model.attention import SelfAttention
from model.blocks import LastStage
from model.generator import Generator, GeneratorConfig
from model.interpolation import bicubic, consistent

SEED = GeneratorConfig()
LITE = GeneratorConfig(width=32, blocks=5, edge_kernel=5, batch_norm=False, attention=False, tail="shuffle")
FAMILY = {
    "seed": SEED,
    "lite": LITE,
    "three channels": GeneratorConfig(channels=3, blocks=1),
    "image": GeneratorConfig(output="image", blocks=1),
    "x2": GeneratorConfig(scale=2, blocks=1),
}


@pytest.mark.parametrize("config", FAMILY.values(), ids=FAMILY.keys())
def test_each_member_enlarges_by_its_scale(config: GeneratorConfig) -> None:
    low = torch.rand(2, config.channels, 12, 9) * 2 - 1
    high = Generator(config).eval()(low)
    assert high.shape == (2, config.channels, 12 * config.scale, 9 * config.scale)


def test_the_seed_architecture_is_what_the_design_says() -> None:
    generator = Generator(SEED)
    convolutions = [layer for layer in generator.modules() if isinstance(layer, nn.Conv2d)]
    assert convolutions[0].kernel_size == (9, 9)
    assert convolutions[0].out_channels == 64
    assert convolutions[-1].kernel_size == (9, 9)
    assert len([layer for layer in generator.modules() if isinstance(layer, nn.BatchNorm2d)]) == 2 * 16
    assert len([layer for layer in generator.modules() if isinstance(layer, nn.PixelShuffle)]) == 2
    assert isinstance(generator.attention, SelfAttention)
    assert generator.attention.gain.item() == 0
    assert all(
        c.kernel_size == (3, 3)
        for block in list(generator.trunk.children())[:16]
        for c in block.modules()
        if isinstance(c, nn.Conv2d)
    )


@pytest.mark.parametrize("scale", [2, 4])
def test_training_starts_at_the_best_classical_method(scale: int) -> None:
    low = torch.rand(1, 1, 16, 16) * 2 - 1
    assert torch.equal(Generator(GeneratorConfig(scale=scale)).eval()(low), consistent(low, scale))


def test_a_network_cannot_move_the_mean_of_a_block() -> None:
    torch.manual_seed(5)
    generator = Generator(LITE).eval()
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        low = torch.rand(2, 1, 16, 24) * 2 - 1
        high = generator(low)
    assert (high - consistent(low, 4)).abs().max() > 0.01
    assert torch.allclose(F.avg_pool2d(high, 4), low, atol=1e-5)


def test_older_weights_add_to_bicubic() -> None:
    low = torch.rand(1, 1, 16, 16) * 2 - 1
    assert torch.equal(Generator(GeneratorConfig(output="bicubic", blocks=1)).eval()(low), bicubic(low, 4))


def test_the_image_form_stays_within_tanh() -> None:
    high = Generator(FAMILY["image"]).eval()(torch.rand(1, 1, 16, 16) * 20)
    assert high.abs().max() <= 1


def test_attention_looks_at_every_position() -> None:
    """Changing one corner changes the opposite one, once the gain is not zero."""
    attention = SelfAttention(16)
    nn.init.constant_(attention.gain, 1.0)
    x = torch.rand(1, 16, 8, 8)
    changed = x.clone()
    changed[..., 0, 0] += 5
    assert not torch.allclose(attention(x)[..., 7, 7], attention(changed)[..., 7, 7])


def test_attention_may_look_at_squares_of_positions() -> None:
    """Each key stands for the mean of a square, at the border of what is left of it."""
    attention = SelfAttention(16, pool=4)
    nn.init.constant_(attention.gain, 1.0)
    flat = torch.ones(1, 16, 10, 7)
    assert torch.allclose(attention(flat)[..., 0, 0], attention(flat)[..., 9, 6], atol=1e-6)
    changed = flat.clone()
    changed[..., 0, 0] += 5
    assert not torch.allclose(attention(flat)[..., 9, 6], attention(changed)[..., 9, 6])


def test_attention_keeps_its_heads_equal_so_that_the_fused_kernel_serves_it() -> None:
    attention = SelfAttention(64)
    assert attention.query_key_value.out_channels == 3 * attention.inner
    assert attention.out.in_channels == attention.inner


def test_a_scale_that_is_no_power_of_two_is_refused() -> None:
    with pytest.raises(ValueError, match="not 3"):
        Generator(GeneratorConfig(scale=3))


@pytest.mark.parametrize("kernel", [1, 3, 5, 7, 9])
def test_the_last_stage_is_an_upsampling_block_and_a_convolution(kernel: int) -> None:
    stage = LastStage(6, 2, kernel)
    x = torch.randn(2, 6, 7, 5)
    plain = stage.last(nn.PixelShuffle(2)(stage.activation(stage.widen(x))))
    assert torch.allclose(stage(x), plain, atol=1e-5)
