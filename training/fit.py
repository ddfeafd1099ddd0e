"""Train a generator: `python -m training.fit CONFIG [--set key=value]... [--resume RUN]`.

With `torchrun --nproc-per-node N -m training.fit ...` N processes share the work; each takes its own batch.
`--until STEP` ends the run there, saved; `--resume` goes on as if it had never stopped.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from model.upscaler import choose_device
from training import config as configuration
from training import images
from training.batches import Batches
from training.config import ConfigError, TrainingConfig
from training.images import Radiograph
from training.parallel import Processes, joined
from training.run import Run
from training.steps import Diverged
from training.trainer import Trainer
from training.validation import Validation

console = Console(stderr=True)
INTERRUPTED = 130  # what a shell says of a program that Ctrl-C ended


class Stopped(Exception):
    """Somebody asked the run to end; its state is saved."""


class Journal:
    """What the first process writes and shows while a run goes on; the others keep silent."""

    def __init__(
        self, run: Run, trainer: Trainer, images: int, validation: Validation, pending: list[dict[str, float]]
    ) -> None:
        """images: to train on. pending: the losses that no line tells yet."""
        self._run, self._trainer, self._images, self._validation = run, trainer, images, validation
        self._pending = pending
        columns = (TextColumn("{task.fields[stage]}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, TextColumn("{task.fields[told]}"), console=console)
        self._task = self._progress.add_task(
            "", total=run.config.steps, completed=trainer.step, stage=trainer.stage, told=""
        )
        self._measured = ""
        self.saved = trainer.step  # the step of the last good state

    def __enter__(self) -> Journal:
        self._run.rewind(self._trainer.step)
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def step(self, stage: str, losses: dict[str, float]) -> None:
        """Log, measure and save, each when it is due."""
        every, step = self._run.config.every, self._trainer.step
        turned = step in (self._run.config.content.steps, self._run.config.steps)  # a stage has ended
        self._pending.append(losses)
        self._progress.update(self._task, completed=step, stage=stage)
        if step % every.log == 0 or turned:
            self._log(stage)
        if step % every.checkpoint == 0 or turned:
            self._checkpoint(stage)
        if step % every.save == 0 or turned:
            self.save()

    def save(self) -> None:
        """What --resume goes on from."""
        self._run.save({**self._trainer.state(), "pending": self._pending})
        self.saved = self._trainer.step

    def _log(self, stage: str) -> None:
        names = self._pending[-1]
        means = {name: fmean(told[name] for told in self._pending if name in told) for name in names}
        self._pending.clear()
        self._run.log(self._trainer.step, stage=stage, losses=means)
        told = " ".join(f"{name} {value:.4g}" for name, value in means.items())
        self._progress.update(self._task, told=f"{self._measured} {told}")

    def _checkpoint(self, stage: str) -> None:
        step, trainer = self._trainer.step, self._trainer
        measured, results = self._validation.measure(trainer.upscaler())
        self._validation.show(self._run.panel(step), results)
        self._run.log(step, stage=stage, epoch=self._epoch(), **measured)
        self._run.keep(trainer.average, step, stage, trainer.card(metrics={"validation": measured}))
        self._run.draw()
        ours, bicubic = measured["ours"], measured["bicubic"]
        self._measured = f"PSNR {ours['psnr']:.2f} dB ({ours['psnr'] - bicubic['psnr']:+.2f}) SSIM {ours['ssim']:.4f}"
        console.print(f"step {step}: {self._measured} beside bicubic: {measured['seen']}", soft_wrap=True)

    def _epoch(self) -> float:
        """Crops that the generator was trained on, for each image."""
        config, step = self._run.config, self._trainer.step
        content = min(step, config.content.steps) * config.content.batch
        adversarial = max(0, step - config.content.steps) * config.adversarial.batch
        return (content + adversarial) * self._trainer.processes.world / self._images


def fit(config: TrainingConfig, resumed: Run | None, processes: Processes, until: int) -> None:
    """Train a new run, or one that is resumed, up to a step. Raises ConfigError, Diverged, Stopped."""
    _prepare(config)
    state: dict[str, Any] = (resumed.state() if resumed else None) or {}
    training, validation = _load(config, processes)
    trainer = Trainer(config, processes, state or None)
    batches = Batches(training, config, rank=processes.rank)
    prepared = batches.loader(trainer.step, processes.device)
    if not processes.first:
        while trainer.step < until:
            trainer.advance(prepared)
        processes.wait()
        return
    held_out = Validation(validation, config.degrade, config.generator.scale)
    run = resumed or Run.start(config, datetime.now(UTC))
    console.print(f"run folder: {run.folder}", soft_wrap=True)
    if trainer.step >= config.steps:
        console.print(f"this run has finished: it has made all of its {config.steps} steps")
    pending = state.get("pending", [])
    with _asked_to_stop(processes) as asked, Journal(run, trainer, len(training), held_out, pending) as journal:
        while trainer.step < until and not asked:
            stage = trainer.stage
            try:
                losses = trainer.advance(prepared)
            except Diverged as error:
                again = f"--resume {run.folder} --set KEY=VALUE"
                raise Diverged(f"{error}; {again} goes on from step {journal.saved}, the last good state") from None
            if stage == "adversarial" and trainer.step % config.every.log == 0:
                losses["slope"] = trainer.slope(batches[batches.first(trainer.step - 1)])
            journal.step(stage, losses)
        if trainer.step < config.steps:
            journal.save()
    processes.wait()
    if trainer.step < config.steps:
        stopped = f"stopped after step {trainer.step}; go on with --resume {run.folder}"
        if asked:
            raise Stopped(stopped)
        console.print(stopped, soft_wrap=True)


@contextmanager
def _asked_to_stop(processes: Processes) -> Iterator[list[int]]:
    """A list that holds something once Ctrl-C or SIGTERM has come, so that the step in progress is finished first.

    Several processes would stop at different steps: there a signal ends them at once, and the last state stays.
    """
    asked: list[int] = []
    if processes.world > 1:
        yield asked
        return
    before = {number: signal.signal(number, lambda n, _: asked.append(n)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _prepare(config: TrainingConfig) -> None:
    torch.backends.cudnn.allow_tf32 = False  # the gradient penalty is float32, not shorter
    if config.threads:
        torch.set_num_threads(config.threads)
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False


def _load(config: TrainingConfig, processes: Processes) -> tuple[list[Radiograph], list[Radiograph]]:
    divided = images.split(images.find_images(config.data.root), config.data)
    training, skipped = images.load(divided.training, config.data)
    if not processes.first:
        return training, []
    validation, also = images.load(divided.validation, config.data)
    for line in [*skipped, *also]:
        console.print(f"[yellow]{line}", soft_wrap=True)
    console.print(divided.told, soft_wrap=True)
    console.print(f"{len(training)} images to train on, {len(validation)} of held-out patients to validate on")
    return training, validation


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.fit", description="Train a generator.")
    parser.add_argument("config", type=Path, nargs="?", help="a TOML file, such as config/train.toml")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one key, e.g. content.steps=1000"
    )
    parser.add_argument(
        "--resume", type=Path, metavar="RUN", help="go on with the run in this folder, with its own configuration"
    )
    parser.add_argument("--until", type=int, metavar="STEP", help="stop after this step, for another --resume later")
    options = parser.parse_args(arguments)
    if options.resume is None and options.config is None:
        parser.error("give a configuration, or --resume RUN")
    return options


def _opened(options: argparse.Namespace) -> tuple[TrainingConfig, Run | None]:
    """What to do, and the run to go on with. Raises ConfigError."""
    settings = tuple(options.set)
    if options.resume is None:
        return configuration.read(options.config, settings), None
    run = Run.open(options.resume)
    if options.config is not None:
        return configuration.read(options.config, settings), run
    return configuration.changed(run.config, settings, where=str(options.resume)), run


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 0 done, 1 failed, 3 configuration refused, 130 interrupted."""
    options = _parse(arguments)
    try:
        config, run = _opened(options)
        with joined(_device(config)) as processes:
            if run is not None and processes.first:
                run.change(config)
            fit(config, run, processes, config.steps if options.until is None else min(options.until, config.steps))
    except ConfigError as error:
        return _told(f"training: {error}", 3)
    except Diverged as error:
        return _told(f"training stopped: {error}", 1)
    except Stopped as stopped:
        return _told(f"training {stopped}", INTERRUPTED)
    return 0


def _device(config: TrainingConfig) -> torch.device:
    try:
        return choose_device(config.device)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _told(text: str, code: int) -> int:
    if os.environ.get("RANK", "0") == "0":
        print(text, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
