"""What each stage minimises. Modules, so that DistributedDataParallel can wrap what holds the trained weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from model.consistency import project
from model.critic import Critic
from model.family import SuperResolver
from model.interpolation import consistent
from model.vgg import Vgg19
from training import losses
from training.batches import Batch
from training.config import TrainingConfig

Losses = dict[str, Tensor]  # "loss" is what is minimised; the others are its parts, for people


def super_resolve(generator: SuperResolver, low: Tensor, *, half: bool, consistent: bool) -> Tensor:
    """The generator's image in float32: (N, 1, H, W) -> (N, C, sH, sW).

    consistent: after the consistency step. Then the losses and the critic see what the node would send, an image whose
    block means are the source's.
    """
    low = low.expand(-1, generator.config.channels, -1, -1).contiguous(memory_format=torch.channels_last)
    with torch.autocast(low.device.type, torch.bfloat16, enabled=half):
        high = generator(low)
    return project(high.float(), low) if consistent else high.float()


def uses_bf16(config: TrainingConfig, device: torch.device) -> bool:
    """Whether the forward pass runs in bfloat16."""
    if config.precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return config.precision == "bfloat16"


class ContentObjective(nn.Module):
    """The content stage: pixels alone; those of the image, and those that a teacher makes of the same source."""

    def __init__(
        self, generator: SuperResolver, teacher: SuperResolver | None, config: TrainingConfig, *, half: bool
    ) -> None:
        super().__init__()
        self.generator, self._config, self._half = generator, config, half
        compiled = cast(SuperResolver, torch.compile(generator)) if config.compile else generator
        self._others = (compiled, teacher)  # in a tuple: their weights are none of this module's, or its own again

    def forward(self, batch: Batch) -> Losses:
        """-> "loss", and with a teacher "teacher"."""
        config, scale = self._config, self.generator.config.scale
        generator, teacher = self._others
        result = super_resolve(generator, batch.low, half=self._half, consistent=config.consistent)
        loss = pixel_loss(config.pixel, result, batch, scale)
        if teacher is None:
            return {"loss": loss}
        with torch.no_grad():
            shown = super_resolve(teacher, batch.low, half=self._half, consistent=config.consistent)
        apart = distance(config.pixel, result, shown, batch, scale)
        return {"loss": (1 - config.teacher.share) * loss + config.teacher.share * apart, "teacher": apart}


class CriticObjective(nn.Module):
    """What the critic minimises: the negative Wasserstein estimate and the gradient penalty."""

    def __init__(self, critic: Critic, config: TrainingConfig, *, half: bool) -> None:
        super().__init__()
        self.critic, self._weight, self._half = critic, config.adversarial.penalty_weight, half

    def forward(self, batch: Batch, fake: Tensor) -> Losses:
        """-> "loss", "critic_loss", "penalty"."""
        real = batch.high.expand_as(fake)
        low = batch.low.expand(-1, fake.shape[1], -1, -1)
        with torch.autocast(fake.device.type, torch.bfloat16, enabled=self._half):
            scores = self.critic(torch.cat([real, fake]), torch.cat([low, low])).float()
        wasserstein = losses.critic_loss(*scores.chunk(2))
        penalty = losses.gradient_penalty(lambda image: self.critic(image, low), real, fake, batch.share)
        return {"loss": wasserstein + self._weight * penalty, "critic_loss": wasserstein, "penalty": penalty}


class AdversarialObjective(nn.Module):
    """What the generator minimises beside the critic: its score, VGG19 features, pixels, and its upsampling weights."""

    def __init__(self, generator: SuperResolver, config: TrainingConfig, *, half: bool) -> None:
        super().__init__()
        self.generator, self._config, self._half = generator, config, half

    def forward(self, batch: Batch, critic: Callable[[Tensor, Tensor], Tensor], features: Vgg19 | None) -> Losses:
        """-> "loss", "pixel", "adversarial", "perceptual"."""
        config = self._config.adversarial
        fake = super_resolve(self.generator, batch.low, half=self._half, consistent=self._config.consistent)
        low = batch.low.expand(-1, fake.shape[1], -1, -1)
        pixel = pixel_loss(self._config.pixel, fake, batch, self.generator.config.scale)
        with torch.autocast(fake.device.type, torch.bfloat16, enabled=self._half):
            adversarial = losses.generator_loss(critic(fake, low).float())
            perceptual = pixel.new_zeros(())
            if features is not None:
                perceptual = losses.perceptual_loss(features, fake, batch.high.expand_as(fake)).float()
        decay = losses.squared_norm(self.generator.upsampling_weights())
        total = (
            config.pixel_weight * pixel
            + config.adversarial_weight * adversarial
            + config.perceptual_weight * perceptual
            + config.upsampling_decay * decay
        )
        return {"loss": total, "pixel": pixel, "adversarial": adversarial, "perceptual": perceptual}


def pixel_loss(kind: str, result: Tensor, batch: Batch, scale: int) -> Tensor:
    """The mean over samples of the chosen distance to the image: -> ()."""
    return distance(kind, result, batch.high.expand_as(result), batch, scale)


def distance(kind: str, result: Tensor, target: Tensor, batch: Batch, scale: int) -> Tensor:
    """The mean over samples of a distance between images, (N, C, sH, sW) each: -> (). Raises ValueError."""
    if kind not in losses.PIXEL_LOSSES:
        raise ValueError(f"there is no pixel loss {kind!r}; known: {', '.join(losses.PIXEL_LOSSES)}")
    limit = consistent(batch.low, scale)
    return losses.PIXEL_LOSSES[kind](result, target, limit, batch.high).mean()
