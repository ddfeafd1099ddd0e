"""How much detail a generator usually adds: the range that the node holds each of its results against.

`python -m training.usual WEIGHTS... --data DIR`: measures on patients held out from training and writes the range into
the card of each weights file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.progress import track

from model import checkpoint, detail
from model.upscaler import Upscaler
from training import cases, images
from training.config import ConfigError
from training.images import Pixels
from training.patients import held_out

CROP = 320  # pixels of the image as it is: detail at full resolution


def measure(upscaler: Upscaler, paths: Sequence[Path]) -> dict[str, tuple[float, float]]:
    """The least and the greatest share of added detail, by scale. Raises ValueError if no image can be read."""
    shares: dict[int, list[float]] = {scale: [] for scale in upscaler.scales}
    for path in track(paths, description=upscaler.card.name):
        for low in _lows(path, max(upscaler.scales)):
            for scale, found in shares.items():
                found.append(detail.added(upscaler.upscale(low, scale), low).share)
    if not all(shares.values()):
        raise ValueError("there is no image to measure on")
    return {str(scale): (round(min(found), 6), round(max(found), 6)) for scale, found in shares.items()}


def _lows(path: Path, scale: int) -> Iterator[Pixels]:
    """An image as the node may get it: a part at full resolution, and the whole at that of the seed protocol."""
    high = images.read_gray(path).pixels
    top, left = ((length - min(CROP, length)) // 2 for length in high.shape)
    yield high[top : top + CROP, left : left + CROP]
    yield cases.case(path, "seed", "area", scale).low


def write(weights: Path, found: dict[str, tuple[float, float]]) -> None:
    """Put the range into the card beside a weights file."""
    card = weights.with_suffix(".json")
    content = json.loads(card.read_text(encoding="utf-8"))
    content["usual_detail"] = found
    card.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; exit code 0 done, 1 failed."""
    parser = argparse.ArgumentParser(
        prog="python -m training.usual", description="Measure how much detail weights usually add; write it into cards."
    )
    parser.add_argument("weights", nargs="+", help="names or .safetensors files")
    parser.add_argument("--data", type=Path, required=True, help="a folder of radiographs")
    parser.add_argument("--held-out", type=int, default=5, help="the percentage of patients that no training has seen")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    options = parser.parse_args(arguments)
    try:
        paths = held_out(images.find_images(options.data, "--data"), options.data, options.held_out)
        for name in options.weights:
            found = measure(Upscaler.load(name, options.device), paths)
            write(checkpoint.find(name), found)
            print(f"{name}: {found}")
    except (ConfigError, checkpoint.CheckpointError, OSError, ValueError) as error:
        print(f"usual: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
