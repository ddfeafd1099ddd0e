"""From runs, one for each scale, to weights and card.

`python -m training.export RUN... -o model/weights/NAME.safetensors [--checkpoint NAME] [--blend ...]`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from model import checkpoint
from training import blend
from training.blend import Blend
from training.config import ConfigError
from training.run import CHECKPOINTS, Run

HISTORY = 24  # lines of losses that a card tells at most, evenly spread over the run


def export(
    folders: Sequence[Path], target: Path, chosen: str, blends: Mapping[int, Blend] = MappingProxyType({})
) -> checkpoint.Card:
    """Write the weights of a checkpoint of each run with all that is known. Raises ConfigError, CheckpointError.

    What was measured of weights that stood there before is gone: other weights are measured anew. blends: by scale.
    """
    runs = [Run.open(folder) for folder in folders]
    _check(runs)
    generators: checkpoint.Generators = {}
    training: dict[str, Any] = {}
    for run in runs:
        trained, card = checkpoint.load(_weights(run, chosen))
        (scale,) = card.scales
        done = card.training["steps_done"]
        generators[scale] = trained[scale]
        training[f"x{scale}"] = {
            **run.origin,
            "steps_done": done,
            **run.config.recipe(),
            "history": _history(run, done),
        }
        if scale in blends:
            training[f"x{scale}"]["blend"] = blends[scale].apply(generators[scale], run.config.start.weights)
    config = runs[0].config
    return checkpoint.save(
        target,
        generators,
        name=target.stem,
        version=config.version,
        tile=config.inference.tile,
        overlap=config.inference.overlap,
        training=training,
        weaknesses=list(config.weaknesses),
        licence=config.licence,
    )


def _check(runs: Sequence[Run]) -> None:
    """Runs that can share a file. Raises ConfigError."""
    first = runs[0].config
    for run in runs[1:]:
        if replace(run.config.generator, scale=first.generator.scale) != first.generator:
            raise ConfigError(f"{run.folder} trained another generator than {runs[0].folder}: they cannot share a file")
    scales = [run.config.generator.scale for run in runs]
    if len(set(scales)) < len(scales):
        raise ConfigError(
            f"two of the runs are of one scale ({', '.join(f'x{scale}' for scale in scales)}); give one of each"
        )


def _weights(run: Run, chosen: str) -> Path:
    folder = run.folder / CHECKPOINTS
    known = sorted(path.name for path in folder.glob("*") if path.is_dir() and not path.suffix)
    steps = [name for name in known if name.startswith("step-")]
    name = chosen or max(steps, key=lambda step: int(step.removeprefix("step-")), default="")
    if name not in known:
        choices = ", ".join(known) or "none yet; train longer"
        raise ConfigError(f"{run.folder} has no checkpoint {name!r}; it has {choices}")
    return folder / name / f"{run.config.name}{checkpoint.SUFFIX}"


def _history(run: Run, last: int) -> list[dict[str, Any]]:
    """A few lines of the losses: how the training went."""
    lines = [line for line in run.lines() if "losses" in line and line["step"] <= last]
    every = -(-len(lines) // HISTORY) or 1
    chosen = lines[::-1][::every][::-1]
    return [
        {"step": line["step"], "stage": line["stage"], **{k: round(v, 5) for k, v in line["losses"].items()}}
        for line in chosen
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; exit code 0 done, 1 failed."""
    parser = argparse.ArgumentParser(
        prog="python -m training.export", description="Write weights and card from runs, one for each scale."
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="the folders of runs, one for each scale")
    parser.add_argument("-o", "--output", type=Path, required=True, help=f"the weights file, NAME{checkpoint.SUFFIX}")
    parser.add_argument(
        "--blend", action="append", default=[], metavar="xS:KEY=VALUE,...", help="for a scale; see training/blend.py"
    )
    parser.add_argument("--checkpoint", default="", help="step-NNNNNN, best-content or best-adversarial; else the last")
    options = parser.parse_args(arguments)
    if options.output.suffix != checkpoint.SUFFIX:
        parser.error(f"--output must end in {checkpoint.SUFFIX}")
    try:
        card = export(options.runs, options.output, options.checkpoint, dict(map(blend.read, options.blend)))
    except (ConfigError, checkpoint.CheckpointError, OSError, ValueError) as error:
        print(f"export: {error}", file=sys.stderr)
        return 1
    print(f"{options.output}: {card.identity}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
