"""One optimisation step of each training stage, and the schedule."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from model.consistency import project
from model.generator import Generator, bicubic
from training.config import Optimiser, TrainingConfig
from training.data import Batch
from training.degrade import degrade
from training.losses import relative_pixel_loss


class Diverged(Exception):
    """The loss is no longer a number; the run stops with its last good checkpoint."""


def learning_rate(optimiser: Optimiser, step: int) -> float:
    """Linear warm-up, then half a cosine down to zero at the last step."""
    if step < optimiser.warmup_steps:
        return optimiser.learning_rate * (step + 1) / optimiser.warmup_steps
    done = (step - optimiser.warmup_steps) / max(1, optimiser.steps - optimiser.warmup_steps)
    return optimiser.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def content_loss(generator: Generator, batch: Batch, config: TrainingConfig) -> Tensor:
    """The loss of the content stage, -> (): absolute error after the consistency step, relative to bicubic's."""
    scale = config.generator.scale
    high = (batch.high - batch.centre) / batch.half_width
    low = (degrade(batch.high, config.degrade, scale) - batch.centre) / batch.half_width
    low = low.contiguous(memory_format=torch.channels_last)
    with torch.autocast(low.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
        answer = generator(low)
    return relative_pixel_loss(project(answer.float(), low), high, bicubic(low, scale))


def content_step(
    generator: Generator, adam: torch.optim.Optimizer, batch: Batch, config: TrainingConfig, step: int
) -> float:
    """One update; returns the loss. Raises Diverged."""
    for group in adam.param_groups:
        group["lr"] = learning_rate(config.optimiser, step)
    loss = content_loss(generator, batch, config)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise Diverged(f"the loss is {value} at step {step}; lower optimiser.learning_rate")
    adam.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    adam.step()
    return value


@torch.no_grad()
def follow(average: Generator, generator: Generator, decay: float, step: int) -> None:
    """Move the averaged weights towards the current ones; early on faster, so that the start is forgotten."""
    decay = min(decay, (1 + step) / (10 + step))
    for kept, current in zip(average.parameters(), generator.parameters(), strict=True):
        kept.lerp_(current, 1 - decay)
    for counted, latest in zip(average.buffers(), generator.buffers(), strict=True):
        counted.copy_(latest)
