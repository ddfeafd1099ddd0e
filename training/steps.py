"""What one step is made of: the schedule, the update of the weights, and their moving average."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from model.family import SuperResolver
from training.batches import Batch
from training.config import Content
from training.parallel import quiet


class Diverged(Exception):
    """The losses say that going on is useless; the run stops with its last good checkpoint."""


def learning_rate(content: Content, step: int) -> float:
    """Linear warm-up, then half a cosine down to zero at the last step."""
    if step < content.warmup_steps:
        return content.learning_rate * (step + 1) / content.warmup_steps
    done = (step - content.warmup_steps) / max(1, content.steps - content.warmup_steps)
    return content.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def backward(
    objective: nn.Module,
    batch: Batch,
    parts: int,
    more: Callable[[Batch], tuple[Any, ...]] = lambda part: (),
    *,
    limit: float = math.inf,
) -> dict[str, float]:
    """Add up the gradients of an objective over the parts of a batch; returns its mean losses, and the "gradient" norm.

    more: what the objective takes beside a part. limit: of the gradient's norm; a larger one is shortened to it.
    """
    for parameter in objective.parameters():
        parameter.grad = None
    totals: dict[str, Tensor] = {}
    for number, part in enumerate(batch.split(parts), 1):
        with quiet(objective) if number < parts else nullcontext():
            losses = objective(part, *more(part))
            (losses["loss"] / parts).backward()
        for name, value in losses.items():
            totals[name] = totals.get(name, 0.0) + value.detach() / parts
    gradients = [parameter.grad for parameter in objective.parameters() if parameter.grad is not None]
    totals["gradient"] = torch.nn.utils.get_total_norm(gradients)
    torch._foreach_mul_(gradients, (limit / (totals["gradient"] + 1e-12)).clamp(max=1.0))
    return dict(zip(totals, torch.stack(list(totals.values())).tolist(), strict=True))  # the device is asked once


def check(losses: dict[str, float], step: int, advice: str, limit: float = math.inf) -> None:
    """Raise Diverged for a loss that is no number, or larger than the limit."""
    for name, value in losses.items():
        if not math.isfinite(value) or abs(value) > limit:
            beyond = "" if not math.isfinite(value) else f", beyond the limit of {limit:g}"
            raise Diverged(f"{name} is {value:g} at step {step}{beyond}; {advice}")


@torch.no_grad()
def follow(average: SuperResolver, generator: SuperResolver, decay: float, step: int) -> None:
    """Move the averaged weights towards the current ones; early on faster, so that the start is forgotten."""
    decay = min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(average.parameters()), list(generator.parameters()), 1 - decay)  # one kernel for all
    for counted, latest in zip(average.buffers(), generator.buffers(), strict=True):
        counted.copy_(latest)
