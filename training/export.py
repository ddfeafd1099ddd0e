"""From a run to weights and card.

`python -m training.export RUN -o model/weights/NAME.safetensors [--checkpoint NAME] [--metrics JSON]...`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model import checkpoint
from training.config import ConfigError
from training.run import CHECKPOINTS, Run

HISTORY = 24  # lines of losses that a card tells at most, evenly spread over the run


def export(folder: Path, target: Path, chosen: str, evaluations: Sequence[Path]) -> checkpoint.Card:
    """Write the weights of a checkpoint with all that is known of them. Raises ConfigError, CheckpointError."""
    run = Run.open(folder)
    generator, card = checkpoint.load(_weights(run, chosen))
    done = card.training["steps_done"]
    return checkpoint.save(
        target,
        generator,
        name=run.config.name,
        version=run.config.version,
        tile=card.tile,
        overlap=card.overlap,
        training={**run.origin, "steps_done": done, **run.config.recipe(), "history": _history(run, done)},
        metrics=measured(evaluations, card.sha256),
        weaknesses=list(run.config.weaknesses),
        licence=run.config.licence,
    )


def measured(evaluations: Sequence[Path], sha256: str) -> dict[str, Any]:
    """The figures of evaluation.json files, by protocol. Raises ConfigError if they are not of these weights."""
    metrics: dict[str, Any] = {}
    for path in evaluations:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or not isinstance(content.get("weights"), dict) or "each" not in content:
            raise ConfigError(f"{path} is not an evaluation.json of training.evaluate")
        if sha256 not in [one["sha256"] for one in content["weights"].values()]:
            raise ConfigError(f"{path} was measured with other weights than these ({sha256[:12]}); evaluate them")
        del content["each"]
        name = f"{content.pop('protocol')}, low by {content.pop('low')}"
        if name in metrics:
            raise ConfigError(f"{path}: there is a second evaluation for {name!r}; a card has room for one")
        metrics[name] = content
    return metrics


def _weights(run: Run, chosen: str) -> Path:
    folder = run.folder / CHECKPOINTS
    known = sorted(path.name for path in folder.glob("*") if path.is_dir() and not path.suffix)
    steps = [name for name in known if name.startswith("step-")]
    name = chosen or max(steps, key=lambda step: int(step.removeprefix("step-")), default="")
    if name not in known:
        told = ", ".join(known) or "none yet; train longer"
        raise ConfigError(f"{run.folder} has no checkpoint {name!r}; it has {told}")
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
    parser = argparse.ArgumentParser(prog="python -m training.export", description="Write weights and card from a run.")
    parser.add_argument("run", type=Path, help="the folder of a run")
    parser.add_argument("-o", "--output", type=Path, required=True, help=f"the weights file, NAME{checkpoint.SUFFIX}")
    parser.add_argument("--checkpoint", default="", help="step-NNNNNN, best-content or best-adversarial; else the last")
    parser.add_argument(
        "--metrics", type=Path, action="append", default=[], help="an evaluation.json to put into the card"
    )
    options = parser.parse_args(arguments)
    if options.output.suffix != checkpoint.SUFFIX:
        parser.error(f"--output must end in {checkpoint.SUFFIX}")
    try:
        card = export(options.run, options.output, options.checkpoint, options.metrics)
    except (ConfigError, checkpoint.CheckpointError, OSError, ValueError) as error:
        print(f"export: {error}", file=sys.stderr)
        return 1
    print(f"{options.output}: {card.identity}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
