"""Measure weights and write all that is known of them into their cards: one command for every figure.

`python -m training.card NAME... --data DIR [--held-out 5] [--workers 2]`: the evaluation under every protocol, scale
and variant, the physics suite, and the usual range of detail, on patients held out from training. `training.pages`
makes the documents from the cards.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from rich.console import Console

from model import checkpoint
from model.checkpoint import CheckpointError
from model.physics import suite
from model.upscaler import Upscaler
from training import detail_range, evaluate, images
from training.baselines import CLASSICAL
from training.config import ConfigError
from training.evaluation_set import PROTOCOLS, VARIANTS, Question
from training.images import read_gray
from training.patients import held_out

VARIED = 3  # every third image is measured turned, mirrored, noisy and with another low image too
RINGS = 12  # parts at native resolution that the ring correlation is measured on
_console = Console(stderr=True)


def questions(scales: Sequence[int]) -> list[Question]:
    """All that a card answers."""
    every = [Question(p, s, v) for p, s, v in product(PROTOCOLS, scales, VARIANTS)]
    return [*every, *(Question("whole", scale, low="bicubic") for scale in scales)]


def update(weights: Path, **fields: Any) -> None:
    """Put fields into the card beside a weights file; the others stay."""
    weights.with_suffix(".json").write_text(checkpoint.updated(weights, **fields), encoding="utf-8")


def measure(
    names: Sequence[str], data: Path, percent: int, native: Sequence[str], workers: int, parts: Sequence[str]
) -> None:
    """The parts "evaluation", "physics" and "usual" of the cards. Raises ConfigError, CheckpointError, ValueError."""
    upscalers = evaluate.generators(names, "cpu")
    paths = held_out(images.find_images(data, "--data"), data, percent)
    cut = [path for path in paths if any(name in path.relative_to(data).parts for name in native)]
    whole = [path for path in paths if path not in cut]
    if "evaluation" in parts:
        _evaluation(names, upscalers, whole or cut, cut or whole, data, workers)
    for name, upscaler in zip(names, upscalers.values(), strict=True):
        file = checkpoint.find(name)
        if "usual" in parts:
            update(file, usual_detail=detail_range.measure(upscaler, [*whole[::8], *(cut or whole)[::8]]))
        if "physics" in parts:
            chosen = (cut or whole)[:: max(1, len(cut or whole) // RINGS)]
            pictures = [read_gray(path).pixels for path in chosen]
            examination = suite.examine(upscaler, pictures, "held-out parts at native resolution", _console.print)
            update(file, physics=examination.as_dict())
            _console.print(f"{name}: {'passed' if examination.passed else 'MISSES LIMITS'}")


def _evaluation(
    names: Sequence[str],
    upscalers: dict[str, Upscaler],
    whole: Sequence[Path],
    cut: Sequence[Path],
    data: Path,
    workers: int,
) -> None:
    """Each card gets its own weights' differences, and the classical methods beside them."""
    tables = []
    for question in questions(next(iter(upscalers.values())).scales):
        paths = cut if question.protocol == "native" else whole
        if question.variant != "as it is" or question.low != "area":
            paths = paths[::VARIED]
        tables += evaluate.measure(upscalers, [question], paths, data, workers).as_dict()["tables"]
    for name, method in zip(names, upscalers, strict=True):
        update(checkpoint.find(name), metrics={"tables": [_own(table, method) for table in tables]})


def _own(table: dict[str, Any], name: str) -> dict[str, Any]:
    """The part of a table that concerns one of the weights, in few digits."""
    kept = (*CLASSICAL, name)
    part = {
        **table,
        "methods": {method: values for method, values in table["methods"].items() if method in kept},
        "differences": {name: {o: v for o, v in table["differences"][name].items() if o in CLASSICAL}},
        "above_each_classical": {name: table["above_each_classical"][name]},
        "sources": {
            source: {key: value for key, value in values.items() if key in ("images", *kept)}
            for source, values in table["sources"].items()
        },
    }
    rounded: dict[str, Any] = _rounded(part)
    return rounded


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list | tuple) else value


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; exit code 0 done, 1 failed."""
    parser = argparse.ArgumentParser(prog="python -m training.card", description="Measure weights; write their cards.")
    parser.add_argument("weights", nargs="+", help="names or .safetensors files")
    parser.add_argument("--data", type=Path, required=True, help="a folder of radiographs")
    parser.add_argument("--held-out", type=int, default=5, help="the percentage of patients that no training has seen")
    parser.add_argument("--native", nargs="*", default=["native", "full"], help="folders of parts at native resolution")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS, help="what to measure; default: all")
    options = parser.parse_args(arguments)
    try:
        measure(options.weights, options.data, options.held_out, options.native, options.workers, options.part)
    except (ConfigError, CheckpointError, suite.NoVerdict, OSError, ValueError) as error:
        print(f"card: {error}", file=sys.stderr)
        return 1
    return 0


PARTS = ("evaluation", "physics", "usual")

if __name__ == "__main__":
    sys.exit(main())
