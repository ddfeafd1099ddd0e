"""Measure weights beside classical methods.

`python -m training.evaluate --weights W... --data DIR [--protocol P...] [--scale S...] [--variant V...]`

whole (also called seed): each image as a 256x256 square (antialiased bicubic), as in the seed.
fit: the same with its aspect ratio kept, the shorter side 256.
native: a centred part of at most 512 pixels at the image's own resolution.
The low image is the area mean of s x s pixels, as a coarser detector measures, or antialiased bicubic.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track

from model.checkpoint import CheckpointError
from model.upscaler import NotFinite, Upscaler
from training import evaluation_set, images, report
from training.baselines import BACK_PROJECTION, CLASSICAL, by_upscaler
from training.config import ConfigError
from training.evaluation_set import PROTOCOLS, VARIANTS, Question
from training.patients import held_out, patient_of

WIDTH = 150  # columns that the tables need
SEED = "seed"  # the older name of the protocol "whole"
_upscalers: dict[str, Upscaler] = {}  # of this process


def generators(names: Sequence[str], device: str) -> dict[str, Upscaler]:
    """The weights to measure, by the name of their card. Raises CheckpointError."""
    upscalers: dict[str, Upscaler] = {}
    for name in names:
        upscaler = Upscaler.load(name, device)
        card = upscaler.card
        upscalers[f"{card.name} {card.sha256[:8]}" if card.name in upscalers else card.name] = upscaler
    return upscalers


def measure(
    upscalers: dict[str, Upscaler], questions: Sequence[Question], paths: Sequence[Path], root: Path, workers: int = 1
) -> report.Report:
    """Every question on every image. Raises ConfigError where a question finds no image or no weights."""
    if workers > 1:
        context = get_context("fork")  # the weights are shared as they are
        _upscalers.update(upscalers)
        pool = ProcessPoolExecutor(workers, mp_context=context, initializer=torch.set_num_threads, initargs=(1,))
        with pool:
            return _measure(upscalers, questions, paths, root, pool)
    _upscalers.update(upscalers)
    return _measure(upscalers, questions, paths, root, None)


def _measure(
    upscalers: dict[str, Upscaler],
    questions: Sequence[Question],
    paths: Sequence[Path],
    root: Path,
    pool: ProcessPoolExecutor | None,
) -> report.Report:
    tables, unmeasured = [], set[str]()
    for question in questions:
        names = tuple(name for name, upscaler in upscalers.items() if question.scale in upscaler.scales)
        if not names:
            raise ConfigError(f"--scale {question.scale}: none of the weights upscales by it")
        one = partial(_one, question=question, names=names, root=root)
        results = (pool.map if pool else map)(one, paths)
        rows = []
        for row in track(results, f"{question}", total=len(paths), console=Console(stderr=True)):
            if isinstance(row, str):
                unmeasured.add(row)
            else:
                rows.append(row)
        if not rows:
            raise ConfigError(f"{root}: none of its images can be measured; the first: {min(unmeasured)}")
        tables.append(report.Measured(question, names, rows))
    for line in sorted(unmeasured):
        Console(stderr=True).print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)
    return report.Report({name: upscaler.card for name, upscaler in upscalers.items()}, tables)


def _one(path: Path, *, question: Question, names: Sequence[str], root: Path) -> report.ReportRow | str:
    """One image, or why it is left out."""
    try:
        case = evaluation_set.case(path, question)
    except ValueError as error:
        return f"{path}: skipped, {error}"
    methods = CLASSICAL | {name: by_upscaler(_upscalers[name]) for name in names}
    return report.ReportRow(path, patient_of(path, root), evaluation_set.measure(case, methods, question.scale))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate", description="Measure weights against classical methods."
    )
    parser.add_argument(
        "--weights",
        required=True,
        nargs="+",
        action="extend",
        metavar="W",
        help="names such as xr-lite, or paths of .safetensors files",
    )
    parser.add_argument("--data", type=Path, required=True, help="a folder of images that the weights never saw")
    parser.add_argument(
        "--protocol", nargs="+", choices=(*PROTOCOLS, SEED), default=["whole"], help="seed: another name of whole"
    )
    parser.add_argument("--scale", nargs="+", type=int, default=[], help="default: the largest of the first weights")
    parser.add_argument("--variant", nargs="+", choices=VARIANTS, default=["as it is"])
    parser.add_argument("--low", choices=tuple(evaluation_set.LOWS), default="area", help="how the low image is made")
    parser.add_argument(
        "--held-out",
        type=int,
        default=0,
        metavar="PERCENT",
        help="only the validation patients of a run with this data.validation_percent",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--workers", type=int, default=1, help="processes, on a CPU")
    parser.add_argument("-o", "--output", type=Path, help="folder for evaluation.json, evaluation.md and panel.png")
    return parser.parse_args(arguments)


def evaluate(options: argparse.Namespace) -> report.Report:
    """Measure everything, image by image. Raises CheckpointError, ConfigError."""
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
    upscalers = generators(options.weights, options.device)
    scales = options.scale or [next(iter(upscalers.values())).scales[0]]
    protocols = ["whole" if protocol == SEED else protocol for protocol in options.protocol]
    questions = [Question(p, s, v, options.low) for p, s, v in product(protocols, scales, options.variant)]
    paths = held_out(images.find_images(options.data, "--data"), options.data, options.held_out)
    result = measure(upscalers, questions, paths, options.data, min(options.workers, os.cpu_count() or 1))
    if options.output:
        result.write(options.output)
        first = result.tables[0]
        chosen = {title: evaluation_set.case(row.path, first.question) for title, row in first.extremes()}
        shown = {name: CLASSICAL[name] for name in ("bicubic", BACK_PROJECTION)}
        shown |= {name: by_upscaler(upscalers[name]) for name in first.names}
        report.draw(options.output, chosen, shown, first.question.scale)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; exit code 0 done, 1 failed."""
    options = _parse(arguments)
    try:
        result = evaluate(options)
    except (ConfigError, CheckpointError, NotFinite, OSError, ValueError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 1
    for table in result.shown():
        Console(width=max(WIDTH, Console().width)).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
