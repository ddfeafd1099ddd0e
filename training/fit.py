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

from model.torch_backend import choose_device
from training import config as configuration
from training import images, patients
from training.baselines import by_upscaler, raw
from training.batches import Batches
from training.config import ConfigError, TrainingConfig
from training.images import Radiograph
from training.parallel import ProcessGroup, joined
from training.run import Run
from training.steps import Diverged
from training.trainer import Trainer
from training.validation import OURS, RAW, Validation, gain

console = Console(stderr=True)
INTERRUPTED = 130  # what a shell says of a program that Ctrl-C ended


class Stopped(Exception):
    """Somebody asked the run to end; its state is saved."""


class RunLogger:
    """What the first process writes and shows while a run goes on; the others keep silent."""

    def __init__(self, run: Run, trainer: Trainer, images: int, validation: Validation, kept: dict[str, Any]) -> None:
        """images: to train on. kept: what the state holds beside the networks, such as the losses not yet told."""
        self._run, self._trainer, self._images, self._validation = run, trainer, images, validation
        self._kept: dict[str, Any] = kept
        self._pending: list[dict[str, float]] = kept["pending"]
        columns = (TextColumn("{task.fields[stage]}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, TextColumn("{task.fields[news]}"), console=console)
        self._task = self._progress.add_task("", total=run.config.steps, completed=trainer.step, stage="", news="")
        self._measured = ""
        self._saved = trainer.step

    def __enter__(self) -> RunLogger:
        self._run.rewind(self._trainer.step)
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self) -> None:
        """The row of step 0: what is there before anything was learned."""
        self._checkpoint(self._trainer.stage)

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
        self._run.save({**self._trainer.state(), **self._kept})
        self._saved = self._trainer.step

    @property
    def way_back(self) -> str:
        """To the last saved state, from steps that led nowhere."""
        return f"--resume {self._run.folder} --set KEY=VALUE goes on from step {self._saved}, the last saved state"

    def _log(self, stage: str) -> None:
        names = self._pending[-1]
        means = {name: fmean(losses[name] for losses in self._pending if name in losses) for name in names}
        self._pending.clear()
        self._run.log(self._trainer.step, stage=stage, losses=means)
        shown = " ".join(f"{name} {value:.4g}" for name, value in means.items())
        self._progress.update(self._task, news=f"{self._measured} {shown}")

    def _checkpoint(self, stage: str) -> None:
        step, trainer = self._trainer.step, self._trainer
        methods = {OURS: by_upscaler(trainer.upscaler())}
        if not self._run.config.consistent:
            methods[RAW] = raw(trainer.average)
        measured, results = self._validation.measure(methods)
        self._validation.show(self._run.panel(step), results)
        self._run.log(step, stage=stage, epoch=self._epoch(), **measured)
        self._run.keep(trainer.average, step, stage, trainer.card(metrics={"validation": measured}))
        self._run.draw()
        gains = [f"{view} {gain(means):+.2f} dB" for view, means in measured["views"].items()]
        self._measured = f"over back-projection: {', '.join(gains)};"
        _say(f"step {step}: {self._measured} {measured['seen']}")

    def _epoch(self) -> float:
        """Crops that the generator was trained on, for each image."""
        config, step = self._run.config, self._trainer.step
        content = min(step, config.content.steps) * config.content.batch
        adversarial = max(0, step - config.content.steps) * config.adversarial.batch
        return (content + adversarial) * self._trainer.processes.world / self._images


def fit(config: TrainingConfig, resumed: Run | None, processes: ProcessGroup, until: int) -> None:
    """Train a new run, or one that is resumed, up to a step. Raises ConfigError, Diverged, Stopped."""
    _prepare(config)
    state: dict[str, Any] = (resumed.state() if resumed else None) or {}
    if resumed:
        resumed.check(config, state.get("step", 0))
    training, validation = _load(config, processes)
    trainer = Trainer(config, processes, state or None)
    batches = Batches(training, config, rank=processes.rank)
    prepared = batches.loader(trainer.step, processes.device)
    if not processes.first:
        while trainer.step < until:
            trainer.advance(prepared)
        processes.wait()
        return
    held_out = Validation(validation, config)
    known = images.fingerprint(training, config.data.root)
    if state.get("images", known) != known:
        _say("these are not the images that this run began with: it goes on, but not as it would have", style="yellow")
    run = resumed or Run.start(config, datetime.now(UTC), processes.world)
    _say(f"run folder: {run.folder}")
    if trainer.step >= config.steps:
        _say(f"this run has finished: it has made all of its {config.steps} steps")
    journal = RunLogger(run, trainer, len(training), held_out, {"images": known, "pending": state.get("pending", [])})
    with run.held(), _asked_to_stop(processes) as asked, journal:
        if resumed:
            run.change(config, trainer.step, processes.world)
        if not trainer.step:
            journal.begin()
        while trainer.step < until and not asked:
            stage = trainer.stage
            try:
                losses = trainer.advance(prepared)
            except Diverged as error:
                raise Diverged(f"{error}; {journal.way_back}") from None
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
        _say(stopped)


@contextmanager
def _asked_to_stop(processes: ProcessGroup) -> Iterator[list[int]]:
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
    torch.backends.cudnn.benchmark = not config.deterministic


def _load(config: TrainingConfig, processes: ProcessGroup) -> tuple[list[Radiograph], list[Radiograph]]:
    divided = patients.split(images.find_images(config.data.root), config.data)
    training, skipped = images.load(divided.training, config.data)
    if not processes.first:
        return training, []
    validation, also = images.load(divided.validation, config.data)
    for line in [*skipped, *also]:
        _say(line, style="yellow")
    _say(divided.how)
    _say(f"{len(training)} images to train on, {len(validation)} of held-out patients to validate on")
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
            fit(config, run, processes, config.steps if options.until is None else min(options.until, config.steps))
    except ConfigError as error:
        return _failed(f"training: {error}", 3)
    except OSError as error:
        return _failed(f"training: {error}", 1)
    except Diverged as error:
        return _failed(f"training stopped: {error}", 1)
    except Stopped as stopped:
        return _failed(f"training {stopped}", INTERRUPTED)
    return 0


def _device(config: TrainingConfig) -> torch.device:
    try:
        return choose_device(config.device)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _say(text: str, style: str | None = None) -> None:
    """Words with names of files in them, as they are."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def _failed(text: str, code: int) -> int:
    """Each process says its own: what stops one of several machines is told there alone."""
    rank = os.environ.get("RANK", "0")
    print(text if rank == "0" else f"process {rank}: {text}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
