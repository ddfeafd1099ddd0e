"""Everything that a run holds in memory, and how one step changes it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from statistics import fmean
from typing import Any

import torch

from model import architectures, checkpoint
from model.checkpoint import Card
from model.critic import Critic
from model.family import SuperResolver
from model.torch_backend import TorchBackend
from model.upscaler import Upscaler
from model.vgg import Vgg19, VggError
from training import losses, steps
from training.batches import Batch
from training.config import ConfigError, TrainingConfig
from training.growing import grow
from training.objectives import AdversarialObjective, ContentObjective, CriticObjective, super_resolve, uses_bf16
from training.parallel import ProcessGroup


class Trainer:
    """The networks of a run and their optimisers; `advance` makes one step of the stage that the run is in."""

    def __init__(self, config: TrainingConfig, processes: ProcessGroup, state: dict[str, Any] | None) -> None:
        """Begin a run, or go on from a saved state. Raises ConfigError."""
        self.config, self.processes = config, processes
        self.step = 0
        self._half = uses_bf16(config, processes.device)
        torch.manual_seed(config.seed)
        self.generator = self._placed(begin(config) if state is None else architectures.build(config.generator))
        self.average = copy.deepcopy(self.generator).eval()
        teacher = _teacher(config)
        self.content_objective = processes.wrap(
            ContentObjective(self.generator, self._placed(teacher) if teacher else None, config, half=self._half)
        )
        self.adam = self._optimiser(self.generator, config.content.learning_rate, config.content.betas)
        self._trained: dict[str, Any] = {"generator": self.generator, "average": self.average, "adam": self.adam}
        if config.adversarial.steps:
            self._meet_the_critic()
        if state is not None:
            self._go_on(state)

    def _go_on(self, state: dict[str, Any]) -> None:
        """From a saved state, at the rates of the configuration as it is now; a critic that has come since is new."""
        self.step = state["step"]
        for name, part in self._trained.items():
            if name in state:
                part.load_state_dict(state[name])
        content, adversarial = self.config.content, self.config.adversarial
        for group in self.adam.param_groups:
            group["betas"] = content.betas
        if adversarial.steps:
            for group in (*self.critic_adam.param_groups, *self.adversarial_adam.param_groups):
                group.update(lr=adversarial.learning_rate, betas=adversarial.betas)

    def _meet_the_critic(self) -> None:
        config, adversarial = self.config, self.config.adversarial
        self.features = _features(config, self.processes.device)
        self.critic = self._placed(Critic(config.critic, config.generator.channels))
        self.critic_objective = self.processes.wrap(CriticObjective(self.critic, config, half=self._half))
        self.generator_objective = self.processes.wrap(AdversarialObjective(self.generator, config, half=self._half))
        rate, betas = adversarial.learning_rate, adversarial.betas
        self.critic_adam = self._optimiser(self.critic, rate, betas)
        self.adversarial_adam = self._optimiser(self.generator, rate, betas)
        self._trained |= {
            "critic": self.critic,
            "critic_adam": self.critic_adam,
            "adversarial_adam": self.adversarial_adam,
        }

    def state(self) -> dict[str, Any]:
        """What `--resume` needs; batches and chance follow from seed and step."""
        return {"step": self.step, **{name: part.state_dict() for name, part in self._trained.items()}}

    @property
    def stage(self) -> str:
        """The stage that the next step belongs to."""
        return "content" if self.step < self.config.content.steps else "adversarial"

    def advance(self, batches: Iterator[Batch]) -> dict[str, float]:
        """One step; returns its losses. Raises Diverged."""
        self.generator.train()
        losses = self._content_step(batches) if self.stage == "content" else self._adversarial_step(batches)
        steps.follow(self.average, self.generator, self.config.average, self.step)
        self.step += 1
        return losses

    def _content_step(self, batches: Iterator[Batch]) -> dict[str, float]:
        for group in self.adam.param_groups:
            group["lr"] = steps.learning_rate(self.config.content, self.step)
        limit = self.config.content.gradient_limit
        losses = self.processes.mean(
            steps.backward(self.content_objective, self._next(batches), self.config.accumulate, limit=limit)
        )
        steps.check(losses, self.step, "lower content.learning_rate")
        self.adam.step()
        return losses

    def _adversarial_step(self, batches: Iterator[Batch]) -> dict[str, float]:
        if self.step == self.config.content.steps:
            self.generator.load_state_dict(self.average.state_dict())
        config, parts = self.config.adversarial, self.config.accumulate
        for _ in range(config.critic_steps):
            batch = self._next(batches)
            judged = self.processes.mean(
                steps.backward(self.critic_objective, batch, parts, lambda part: (self._fake(part),))
            )
            steps.check(judged, self.step, "lower adversarial.learning_rate", config.critic_limit)
            self.critic_adam.step()
        self.critic.requires_grad_(False)
        losses = self.processes.mean(
            steps.backward(
                self.generator_objective, self._next(batches), parts, lambda part: (self.critic, self.features)
            )
        )
        self.critic.requires_grad_(True)
        steps.check(losses, self.step, "lower adversarial.learning_rate")
        self.adversarial_adam.step()
        return {**losses, "critic_loss": judged["critic_loss"], "penalty": judged["penalty"]}

    def slope(self, batch: Batch) -> float:
        """The critic's mean slope between real and fake images, which the penalty holds near one."""
        for network in (self.critic, self.generator):
            network.eval()  # measuring must not move the statistics of either
        parts = list(batch.to(self.processes.device).split(self.config.accumulate))
        slope = fmean(self._slope(part) for part in parts)
        for network in (self.critic, self.generator):
            network.train()
        return slope

    def _slope(self, batch: Batch) -> float:
        fake = self._fake(batch)
        between = batch.share * batch.high + (1 - batch.share) * fake
        low = batch.low.expand(-1, fake.shape[1], -1, -1)
        return float(losses.slopes(lambda image: self.critic(image, low), between).mean().detach())

    def card(self, **more: Any) -> dict[str, Any]:
        """The fields of a card for the averaged weights as they are now."""
        config = self.config
        return {
            "name": config.name,
            "version": config.version,
            "tile": config.inference.tile,
            "overlap": config.inference.overlap,
            "licence": config.licence,
            "training": {"steps_done": self.step, **config.recipe()},
            **more,
        }

    def upscaler(self) -> Upscaler:
        """The averaged weights behind the door that the node uses."""
        generator = self.config.generator
        card = Card(
            **{
                **self.card(),
                "sha256": "",
                "family": architectures.family_of(generator),
                "architecture": generator,
                "scales": (generator.scale,),
            }
        )
        backend = TorchBackend({generator.scale: copy.deepcopy(self.average)}, self.processes.device)
        return Upscaler(backend, card)

    def _next(self, batches: Iterator[Batch]) -> Batch:
        return next(batches).to(self.processes.device)

    @torch.no_grad()
    def _fake(self, batch: Batch) -> torch.Tensor:
        return super_resolve(self.generator, batch.low, half=self._half, consistent=self.config.consistent)

    def _optimiser(self, network: torch.nn.Module, rate: float, betas: tuple[float, float]) -> torch.optim.Adam:
        fused = self.processes.device.type == "cuda"  # one kernel for all weights
        return torch.optim.Adam(network.parameters(), lr=rate, betas=betas, fused=fused)

    def _placed(self, network: Any) -> Any:
        return network.to(self.processes.device, memory_format=torch.channels_last)


def begin(config: TrainingConfig) -> SuperResolver:
    """The generator that a run starts from: new, known, or grown. Raises ConfigError."""
    if not config.start.weights:
        return architectures.build(config.generator)
    return grow(_known("start.weights", config.start.weights, config.generator.scale), config.generator)


def _teacher(config: TrainingConfig) -> SuperResolver | None:
    if not config.teacher.weights:
        return None
    return _known("teacher.weights", config.teacher.weights, config.generator.scale).requires_grad_(False)


def _known(key: str, name: str, scale: int) -> SuperResolver:
    """The generator for a scale of some weights. Raises ConfigError."""
    try:
        generators, card = checkpoint.load(checkpoint.find(name))
    except checkpoint.CheckpointError as error:
        raise ConfigError(f"{key}: {error}") from None
    if scale not in generators:
        raise ConfigError(f"{key} = {name}: {card.identity} upscales by {card.scales}, not by {scale}")
    return generators[scale]


def _features(config: TrainingConfig, device: torch.device) -> Vgg19 | None:
    path = config.adversarial.vgg
    if not config.adversarial.perceptual_weight or path is None:
        return None
    try:
        return Vgg19.load(path, config.adversarial.perceptual_layers).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
    except VggError as error:
        raise ConfigError(f"adversarial.vgg: {error}") from None
