"""Measure weights beside classical methods.

`python -m training.evaluate --weights W... --data DIR [--protocol seed|native] [--low area|bicubic]`.

seed: each whole image as a 256x256 square (antialiased bicubic).
native: a centred square of at most 1024 pixels at the image's own resolution.
The low image is the area mean of s x s pixels, as a coarser detector measures, or antialiased bicubic.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from model.checkpoint import Card, CheckpointError
from model.upscaler import NotFinite, Upscaler
from training import cases, images, report
from training.config import ConfigError
from training.methods import CLASSICAL, by_upscaler
from training.patients import held_out, patient_of

WIDTH = 132  # columns that the table needs


def generators(names: Sequence[str], device: str) -> dict[str, Upscaler]:
    """The weights to measure, by the name of their card. Raises CheckpointError, ConfigError."""
    found: dict[str, Upscaler] = {}
    for name in names:
        upscaler = Upscaler.load(name, device)
        card = upscaler.card
        found[f"{card.name} {card.sha256[:8]}" if card.name in found else card.name] = upscaler
    if len({upscaler.card.architecture.scale for upscaler in found.values()}) > 1:
        raise ConfigError(f"--weights {' '.join(names)}: they enlarge by different scales; measure them one by one")
    return found


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
        help="names such as cxr-x4-lite, or paths of .safetensors files",
    )
    parser.add_argument("--data", type=Path, required=True, help="a folder of images that the weights never saw")
    parser.add_argument("--protocol", choices=("seed", "native"), default="seed")
    parser.add_argument("--low", choices=tuple(cases.LOWS), default="area", help="how the low image is made")
    parser.add_argument(
        "--held-out",
        type=int,
        default=0,
        metavar="PERCENT",
        help="only the validation patients of a run with this data.validation_percent",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("-o", "--output", type=Path, help="folder for evaluation.json, evaluation.md and panel.png")
    return parser.parse_args(arguments)


def evaluate(options: argparse.Namespace) -> report.Report:
    """Measure everything, image by image. Raises CheckpointError, ConfigError."""
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
    upscalers = generators(options.weights, options.device)
    cards: dict[str, Card] = {name: upscaler.card for name, upscaler in upscalers.items()}
    scale = next(iter(cards.values())).architecture.scale
    methods = CLASSICAL | {name: by_upscaler(upscaler) for name, upscaler in upscalers.items()}
    paths = held_out(images.find_images(options.data, "--data"), options.data, options.held_out)
    measured, skipped = [], []
    for path in track(paths, "measuring", console=Console(stderr=True)):
        try:
            one = cases.case(path, options.protocol, options.low, scale)
        except ValueError as error:
            skipped.append(f"{path}: skipped, {error}")
            continue
        measured.append(report.Row(path, patient_of(path, options.data), cases.measure(one, methods, scale)))
    for line in skipped:
        Console(stderr=True).print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)
    if not measured:
        raise ConfigError(f"--data {options.data}: none of its images can be read")
    result = report.Report(options.protocol, options.low, cards, measured)
    if options.output:
        result.write(options.output)
        chosen = {title: cases.case(row.path, options.protocol, options.low, scale) for title, row in result.extremes()}
        shown = {name: methods[name] for name in ("bicubic", *cards)}
        report.draw(options.output, chosen, shown, scale)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; exit code 0 done, 1 failed."""
    options = _parse(arguments)
    try:
        table = evaluate(options).table()
        Console(width=max(WIDTH, Console().width)).print(table)
    except (ConfigError, CheckpointError, NotFinite, OSError, ValueError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
