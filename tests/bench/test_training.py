"""Does the loader keep the device busy? Batches prepared beside steps computed, in one run; `make bench` prints it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console
from support.tools import ROOT, shared

from training import config as configuration
from training import images, patients
from training.batches import Batches
from training.parallel import ProcessGroup
from training.trainer import Trainer

console = Console()
BATCHES = 40
CPU = torch.device("cpu")


@pytest.mark.parametrize("file", ["train-lite.toml", "train.toml"])
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_batch_beside_a_step(file: str, workers: int, tmp_path: Path) -> None:
    settings: tuple[str, ...] = (
        f"data.root={shared('xray', 'images')}",
        "data.patients=200",
        f"data.workers={workers}",
    )
    settings += (f"data.cache={tmp_path}",) if workers else ()
    config = configuration.read(ROOT / "config" / file, settings)
    divided = patients.split(images.find_images(config.data.root), config.data)
    loaded, _ = images.load(divided.training, config.data)
    batches = Batches(loaded, config)
    trainer = Trainer(config, ProcessGroup(CPU), None)
    prepared = batches.loader(0, CPU)
    for _ in range(3):
        trainer.advance(prepared)
    batch = next(prepared)
    computed = [_seconds(lambda: trainer.advance(iter([batch]))) for _ in range(BATCHES // 4)]
    alone = batches.loader(0, CPU)
    next(alone)
    loading = _seconds(lambda: [next(alone) for _ in range(BATCHES)]) / BATCHES
    step = statistics.median(computed)
    console.print(
        f"{file}, {workers} workers: a batch in {1000 * loading:.1f} ms, a step in {1000 * step:.0f} ms on "
        f"{torch.get_num_threads()} threads: the loader feeds {step / loading:.0f} such devices"
    )


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
