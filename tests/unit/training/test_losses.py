"""Each loss on an answer that is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from model.critic import Critic, CriticConfig
from training import losses


def linear(slope: float) -> losses.Score:
    """A critic `<w, x>` whose gradient has this norm over all of C, H and W."""
    weight = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0))
    weight *= slope / weight.norm()
    return lambda image: (image * weight).flatten(1).sum(dim=1)


def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(4, 3, 8, 8, generator=generator), torch.randn(4, 3, 8, 8, generator=generator)


@pytest.mark.parametrize(("slope", "penalty"), [(1, 0), (0, 1), (3, 4), (0.5, 0.25)])
def test_a_critic_pays_for_its_distance_from_slope_one(slope: float, penalty: float) -> None:
    """The norm over one axis alone, a known mistake, gives a critic of slope one a penalty near one."""
    assert losses.gradient_penalty(linear(slope), *pair()).item() == pytest.approx(penalty, abs=1e-5)


def test_the_penalty_looks_between_real_and_fake() -> None:
    real, fake = pair()
    seen: list[Tensor] = []

    def critic(image: Tensor) -> Tensor:
        seen.append(image.detach())
        return image.flatten(1).sum(dim=1)

    share = torch.tensor([0.0, 0.25, 0.5, 1.0]).view(4, 1, 1, 1)
    losses.gradient_penalty(critic, real, fake, share)
    assert torch.allclose(seen[0], share * real + (1 - share) * fake)


def test_the_penalty_reaches_the_weights_of_the_critic() -> None:
    """In the seed it never did."""
    critic = Critic(CriticConfig(width=4, dense=8), channels=1)
    low = torch.rand(2, 1, 8, 8)
    real, fake = torch.rand(2, 1, 32, 32), torch.rand(2, 1, 32, 32)
    losses.gradient_penalty(lambda image: critic(image, low), real, fake).backward()
    grads = [p.grad for name, p in critic.named_parameters() if "weight" in name]
    assert all(grad is not None and grad.abs().sum() > 0 for grad in grads)


def test_the_penalty_is_float32_under_autocast() -> None:
    seen: list[torch.dtype] = []

    def critic(image: Tensor) -> Tensor:
        score = image.flatten(1) @ torch.ones(192, 1)
        seen.append(score.dtype)
        return score.squeeze(1)

    real, fake = pair()
    with torch.autocast("cpu", torch.bfloat16):
        penalty = losses.gradient_penalty(critic, real.bfloat16(), fake.bfloat16())
    assert (seen, penalty.dtype) == ([torch.float32], torch.float32)


def test_wasserstein_losses() -> None:
    real, fake = torch.tensor([3.0, 5.0]), torch.tensor([1.0, 2.0])
    assert losses.critic_loss(real, fake).item() == pytest.approx(-2.5)
    assert losses.generator_loss(fake).item() == pytest.approx(-1.5)


def test_pixel_losses() -> None:
    high, result = torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4)
    result[1] *= 3
    assert losses.absolute(result, high).tolist() == [1, 3]
    assert losses.squared(result, high).tolist() == [1, 9]
    error = losses.absolute(result, high)
    assert losses.relative(error, error, floor=0).tolist() == [1, 1]
    assert losses.relative(error, 2 * error, floor=0).tolist() == [0.5, 0.5]


def test_the_perceptual_loss_sums_over_layers_and_trains_the_result_alone() -> None:
    result, high = torch.ones(1, 1, 4, 4, requires_grad=True), torch.zeros(1, 1, 4, 4, requires_grad=True)
    loss = losses.perceptual_loss(lambda image: [1 * image, 2 * image], result, high)
    assert loss.item() == pytest.approx(3)
    loss.backward()
    assert result.grad is not None
    assert high.grad is None


def test_the_squared_norm() -> None:
    assert losses.squared_norm([torch.tensor([3.0]), torch.tensor([[1.0, 2.0]])]).item() == pytest.approx(14)
