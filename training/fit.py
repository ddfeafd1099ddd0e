"""Train a generator: `python -m training.fit CONFIG [--set key=value]... [--resume RUN]`."""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from model.checkpoint import Card
from model.generator import Generator
from model.upscaler import Upscaler, choose_device
from training import config as configuration
from training import data, evaluate, steps
from training.config import ConfigError, TrainingConfig
from training.run import Run

console = Console(stderr=True)


class Trainer:
    """Everything that a run holds in memory; `advance` takes it to a step."""

    def __init__(self, run: Run) -> None:
        config = run.config
        self.run, self.config = run, config
        self.device = choose_device(config.device)
        torch.manual_seed(config.seed)
        self.generator = Generator(config.generator).to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.generator).eval()
        self.adam = torch.optim.Adam(
            self.generator.parameters(), lr=config.optimiser.learning_rate, betas=config.optimiser.betas
        )
        self.step = 0
        if (state := run.state()) is not None:
            self.step = state["step"]
            self.generator.load_state_dict(state["generator"])
            self.average.load_state_dict(state["average"])
            self.adam.load_state_dict(state["adam"])

    def state(self) -> dict[str, object]:
        """What a checkpoint holds; batches need none, they follow from seed and step."""
        return {
            "step": self.step,
            "generator": self.generator.state_dict(),
            "average": self.average.state_dict(),
            "adam": self.adam.state_dict(),
        }

    def advance(self, batch: data.Batch) -> float:
        """One step; returns the loss. Raises Diverged."""
        self.generator.train()
        loss = steps.content_step(self.generator, self.adam, _to(batch, self.device), self.config, self.step)
        steps.follow(self.average, self.generator, self.config.optimiser.average, self.step)
        self.step += 1
        return loss

    def validate(self, images: Sequence[data.Radiograph]) -> dict[str, float]:
        """PSNR and SSIM on whole images of the held-out patients, through the node's own door, beside bicubic."""
        inference = self.config.inference
        card = Card(
            name=self.config.name,
            version=self.config.version,
            sha256="",
            architecture=self.config.generator,
            tile=inference.tile,
            overlap=inference.overlap,
        )
        upscaler = Upscaler(copy.deepcopy(self.average), card, self.device)
        methods = {"ours": evaluate.by_upscaler(upscaler), "bicubic": evaluate.by_resampling("bicubic")}
        rows = evaluate.measure([image.whole for image in images], methods, upscaler.card.architecture.scale)
        return {
            f"{method}_{metric}": float(np.mean([row[method][metric] for row in rows]))
            for method in methods
            for metric in ("psnr", "ssim")
        }


def fit(run: Run) -> None:
    """Train a run from wherever it stands to its last step. Raises ConfigError, Diverged."""
    config = run.config
    if config.threads:
        torch.set_num_threads(config.threads)
    training, validation = _load(config)
    trainer = Trainer(run)
    batches = data.Batches(training, config.data, batch=config.optimiser.batch, seed=config.seed)
    last = config.optimiser.steps
    with _progress() as progress:
        task = progress.add_task("training", total=last, completed=trainer.step, told="")
        while trainer.step < last:
            loss = trainer.advance(batches.at(trainer.step))
            step, ended = trainer.step, trainer.step == last
            if step % config.every.log == 0:
                run.log(step=step, loss=loss)
                progress.update(task, completed=step)
            if step % config.every.checkpoint == 0 or ended:
                run.save(trainer.state())
            if step % config.every.validate_ == 0 or ended:
                measured = trainer.validate(validation)
                run.log(step=step, **measured)
                progress.update(task, completed=step, told=_told(measured))
                console.print(f"step {step}: {_told(measured)}")


def _load(config: TrainingConfig) -> tuple[list[data.Radiograph], list[data.Radiograph]]:
    loaded = []
    for paths in data.split(data.find_images(config.data.root), config.data):
        images, skipped = data.load(paths, config.data)
        for line in skipped:
            console.print(f"[yellow]{line}")
        loaded.append(images)
    training, validation = loaded
    console.print(f"{len(training)} images to train on, {len(validation)} of held-out patients to validate on")
    return training, validation


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, TextColumn("{task.fields[told]}"), console=console)


def _told(measured: dict[str, float]) -> str:
    gain = measured["ours_psnr"] - measured["bicubic_psnr"]
    return (
        f"PSNR {measured['ours_psnr']:.2f} dB ({gain:+.2f} over bicubic), "
        f"SSIM {measured['ours_ssim']:.4f} (bicubic {measured['bicubic_ssim']:.4f})"
    )


def _to(batch: data.Batch, device: torch.device) -> data.Batch:
    return data.Batch(batch.high.to(device), batch.centre.to(device), batch.half_width.to(device))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 0 done, 1 failed, 3 configuration refused."""
    parser = argparse.ArgumentParser(prog="python -m training.fit", description="Train a generator.")
    parser.add_argument("config", type=Path, nargs="?", help="a TOML file, such as config/train.toml")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one key, e.g. optimiser.steps=1000"
    )
    parser.add_argument("--resume", type=Path, metavar="RUN", help="go on with the run in this folder")
    options = parser.parse_args(arguments)
    try:
        if options.resume is not None:
            if options.set:
                parser.error("--set cannot change a run that is resumed; start a new one")
            run = Run.open(options.resume)
        elif options.config is not None:
            run = Run.start(configuration.read(options.config, tuple(options.set)), datetime.now(UTC))
        else:
            parser.error("give a configuration, or --resume RUN")
        console.print(f"run folder: {run.folder}")
        fit(run)
    except ConfigError as error:
        print(f"training: {error}", file=sys.stderr)
        return 3
    except steps.Diverged as error:
        print(f"training stopped: {error}; the last good checkpoint stays in {run.folder}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
