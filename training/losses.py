"""The losses, each one formula."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

Score = Callable[[Tensor], Tensor]  # (N, C, H, W) -> (N,)


def absolute(result: Tensor, high: Tensor) -> Tensor:
    """Mean absolute error of each sample: (N, C, H, W), (N, C, H, W) -> (N,)."""
    return (result - high).abs().flatten(1).mean(dim=1)


def squared(result: Tensor, high: Tensor) -> Tensor:
    """Mean squared error of each sample: (N, C, H, W), (N, C, H, W) -> (N,)."""
    return (result - high).square().flatten(1).mean(dim=1)


def relative(error: Tensor, of_baseline: Tensor, floor: float = 0.002) -> Tensor:
    """An error over a baseline's, so that a soft radiograph counts as much as a contrasty one: (N,), (N,) -> (N,).

    floor: about what rounding to 8 bits makes; below it nothing can be won.
    """
    return error / (of_baseline + floor)


def _relative_absolute(result: Tensor, target: Tensor, limit: Tensor, high: Tensor) -> Tensor:
    return relative(absolute(result, target), absolute(limit, high))


def _relative_rms(result: Tensor, target: Tensor, limit: Tensor, high: Tensor) -> Tensor:
    return relative((squared(result, target) + 1e-12).sqrt(), squared(limit, high).sqrt())


# The pixel losses of a configuration: (result, target, consistent interpolation, image), (N, C, sH, sW) each -> (N,).
PIXEL_LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "relative": _relative_absolute,
    "relative_rms": _relative_rms,
    "absolute": lambda result, target, limit, high: absolute(result, target),
    "squared": lambda result, target, limit, high: squared(result, target),
}


def critic_loss(real: Tensor, fake: Tensor) -> Tensor:
    """The negative Wasserstein estimate: (N,) scores -> () (Arjovsky et al. 2017, equation 2)."""
    return fake.mean() - real.mean()


def generator_loss(fake: Tensor) -> Tensor:
    """What the generator pays for being told from real images: (N,) scores -> () (Arjovsky et al. 2017)."""
    return -fake.mean()


def slopes(critic: Score, images: Tensor) -> Tensor:
    """The norm of the critic's gradient over all of C, H and W: (N, C, H, W) -> (N,), always in float32."""
    with torch.autocast(images.device.type, enabled=False):
        images = images.detach().float().requires_grad_()
        score = critic(images)
        (gradient,) = torch.autograd.grad(score.sum(), images, create_graph=True)
        norms: Tensor = gradient.flatten(1).norm(dim=1)
        return norms


def gradient_penalty(critic: Score, real: Tensor, fake: Tensor, share: Tensor | None = None) -> Tensor:
    """How far the critic's slope is from one between real and fake images: () (Gulrajani et al. 2017, equation 3).

    share: (N, 1, 1, 1) on [0, 1], where between fake and real each sample looks; drawn at random if not given. The
    weight (10 in the paper) is the caller's.
    """
    if share is None:
        share = torch.rand(len(real), 1, 1, 1, device=real.device)
    between = share * real + (1 - share) * fake
    return (slopes(critic, between) - 1).square().mean()


def perceptual_loss(features: Callable[[Tensor], Sequence[Tensor]], result: Tensor, high: Tensor) -> Tensor:
    """Mean absolute difference of the features, summed over layers: -> () (Johnson et al. 2016, equation 2, in L1)."""
    with torch.no_grad():
        originals = features(high)
    return torch.stack([(f - w).abs().mean() for f, w in zip(features(result), originals, strict=True)]).sum()


def squared_norm(weights: Iterable[Tensor]) -> Tensor:
    """The L2 penalty: the sum of all squares, -> ()."""
    return torch.stack([weight.square().sum() for weight in weights]).sum()
