"""From a run to weights and card.

`python -m training.export RUN -o model/weights/NAME.safetensors [--metrics JSON]...`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model import checkpoint
from model.generator import Generator
from training.config import ConfigError
from training.run import CONFIG, Run


def export(folder: Path, target: Path, metrics: dict[str, Any]) -> checkpoint.Card:
    """Write the averaged weights of a run's last checkpoint with their card. Raises ConfigError."""
    run = Run.open(folder)
    state = run.state()
    if state is None:
        raise ConfigError(f"{folder} holds no checkpoint yet; train longer")
    config = run.config
    generator = Generator(config.generator)
    generator.load_state_dict(state["average"])
    revision = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["revision"]
    recipe = config.as_dict()
    for private in ("runs", "device", "threads", "every"):
        del recipe[private]
    del recipe["data"]["root"]
    return checkpoint.save(
        target,
        generator,
        name=config.name,
        version=config.version,
        tile=config.inference.tile,
        overlap=config.inference.overlap,
        training={"revision": revision, "steps_done": state["step"], **recipe},
        metrics=metrics,
        licence=config.licence,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; exit code 0 done, 1 failed."""
    parser = argparse.ArgumentParser(prog="python -m training.export", description="Write weights and card from a run.")
    parser.add_argument("run", type=Path, help="the folder of a run")
    parser.add_argument("-o", "--output", type=Path, required=True, help=f"the weights file, NAME{checkpoint.SUFFIX}")
    parser.add_argument(
        "--metrics", type=Path, action="append", default=[], help="an evaluation.json to put into the card"
    )
    options = parser.parse_args(arguments)
    if options.output.suffix != checkpoint.SUFFIX:
        parser.error(f"--output must end in {checkpoint.SUFFIX}")
    try:
        metrics = {}
        for path in options.metrics:
            measured = json.loads(path.read_text(encoding="utf-8"))
            measured.pop("each", None)
            metrics[measured.pop("protocol")] = measured
        card = export(options.run, options.output, metrics)
    except (ConfigError, OSError, ValueError) as error:
        print(f"export: {error}", file=sys.stderr)
        return 1
    print(f"{options.output}: {card.identity}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
