"""Measure weights: `python -m training.evaluate --weights W --data DIR [--protocol seed|native]`.

seed: each whole image as a 256x256 square (antialiased bicubic), its low image by area mean.
native: a centred square of at most 1024 pixels at the image's own resolution, its low image by area mean.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from model.checkpoint import CheckpointError
from model.upscaler import Upscaler
from training import data, metrics
from training.config import ConfigError

Pixels = NDArray[np.uint8]
Method = Callable[[Pixels, int], Pixels]  # (H, W), scale -> (scale * H, scale * W)

WHOLE, NATIVE = 256, 1024  # pixels
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


class Scores(TypedDict):
    """Of one image by one method."""

    psnr: float
    ssim: float
    gmsd: float


def by_resampling(name: str) -> Method:
    """One of the classical filters."""

    def upscale(low: Pixels, scale: int) -> Pixels:
        size = (low.shape[1] * scale, low.shape[0] * scale)
        return np.asarray(Image.fromarray(low).resize(size, FILTERS[name]))

    return upscale


def by_upscaler(upscaler: Upscaler) -> Method:
    """A generator, through the door that the node uses."""

    def upscale(low: Pixels, scale: int) -> Pixels:
        high: Pixels = upscaler.upscale(low, scale)
        return high

    return upscale


def low_of(high: Pixels, scale: int) -> Pixels:
    """The area mean, rounded to stored values."""
    height, width = high.shape[0] // scale, high.shape[1] // scale
    means = high.reshape(height, scale, width, scale).mean(axis=(1, 3))
    low: Pixels = np.rint(means).astype(np.uint8)
    return low


def measure(images: Sequence[Pixels], methods: Mapping[str, Method], scale: int) -> list[dict[str, Scores]]:
    """For each high image the scores of each method."""
    return [
        {name: _scores(method(low_of(high, scale), scale), high) for name, method in methods.items()} for high in images
    ]


def _scores(result: Pixels, high: Pixels) -> Scores:
    return Scores(psnr=metrics.psnr(result, high), ssim=metrics.ssim(result, high), gmsd=metrics.gmsd(result, high))


def reference(path: Path, protocol: str, scale: int) -> Pixels:
    """The high image of a file under a protocol. Raises OSError."""
    pixels = data.read_gray(path)
    if protocol == "seed":
        return data.shrink(pixels, WHOLE)
    size = min(NATIVE, *pixels.shape) // scale * scale
    top, left = (pixels.shape[0] - size) // 2, (pixels.shape[1] - size) // 2
    return pixels[top : top + size, left : left + size]


def summary(rows: Sequence[dict[str, Scores]]) -> dict[str, Any]:
    """Means of each method, and how often each is better than bicubic."""
    means: dict[str, Any] = {"images": len(rows)}
    for method in rows[0]:
        scores: dict[str, float] = {
            k: float(np.mean([row[method][k] for row in rows])) for k in ("psnr", "ssim", "gmsd")
        }
        gains = np.array([row[method]["psnr"] - row["bicubic"]["psnr"] for row in rows])
        means[method] = {
            **scores,
            "psnr_over_bicubic": float(gains.mean()),
            "share_above_bicubic": float((gains > 0).mean()),
        }
    return means


def table(result: dict[str, Any]) -> Table:
    """The summary for people."""
    shown = Table(title=f"{result['protocol']} protocol, {result['images']} images")
    for heading in ("method", "PSNR dB", "over bicubic", "SSIM", "GMSD", "better than bicubic"):
        shown.add_column(heading, justify="left" if heading == "method" else "right")
    for method, value in result.items():
        if isinstance(value, dict):
            shown.add_row(
                method,
                f"{value['psnr']:.2f}",
                f"{value['psnr_over_bicubic']:+.2f}",
                f"{value['ssim']:.4f}",
                f"{value['gmsd']:.4f}",
                f"{value['share_above_bicubic']:.1%}",
            )
    return shown


def panel(path: Path, cases: Sequence[tuple[str, Pixels]], methods: Mapping[str, Method], scale: int) -> None:
    """A PNG with one row for each case: low, each method, high."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = ["low", *methods, "high"]
    figure, axes = pyplot.subplots(len(cases), len(names), figsize=(3 * len(names), 3.2 * len(cases)), squeeze=False)
    for row, (title, high) in zip(axes, cases, strict=True):
        low = low_of(high, scale)
        pictures = [low, *(method(low, scale) for method in methods.values()), high]
        for axis, name, picture in zip(row, names, pictures, strict=True):
            axis.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axis.set_title(f"{title}: {name}", fontsize=8)
            axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def evaluate(
    weights: str, paths: Sequence[Path], protocol: str, device: str
) -> tuple[dict[str, Any], list[dict[str, Scores]]]:
    """(summary, scores of each image) of one weights file beside the classical filters."""
    upscaler = Upscaler.load(weights, device)
    scale = upscaler.card.architecture.scale
    methods = {name: by_resampling(name) for name in FILTERS} | {upscaler.card.name: by_upscaler(upscaler)}
    rows = [
        measure([reference(path, protocol, scale)], methods, scale)[0]
        for path in track(paths, "measuring", console=Console(stderr=True))
    ]
    identity = {
        "protocol": protocol,
        "weights": upscaler.card.name,
        "version": upscaler.card.version,
        "sha256": upscaler.card.sha256,
    }
    return {**identity, **summary(rows)}, rows


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; exit code 0 done, 1 failed."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate", description="Measure weights against classical filters."
    )
    parser.add_argument(
        "--weights", required=True, help="a name such as cxr-x4-lite, or the path of a .safetensors file"
    )
    parser.add_argument("--data", type=Path, required=True, help="a folder of images that the weights never saw")
    parser.add_argument("--protocol", choices=("seed", "native"), default="seed")
    parser.add_argument(
        "--held-out",
        type=int,
        default=0,
        metavar="PERCENT",
        help="only the validation patients of a run with this data.validation_percent",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("-o", "--output", type=Path, help="folder for evaluation.json and panel.png")
    options = parser.parse_args(arguments)
    try:
        paths = data.find_images(options.data)
        if options.held_out:
            paths = [path for path in paths if data.is_validation(data.patient_of(path), options.held_out)]
        if not paths:
            raise ConfigError(
                f"--held-out {options.held_out}: no image below {options.data} belongs to a held-out patient"
            )
        result, rows = evaluate(options.weights, paths, options.protocol, options.device)
        Console().print(table(result))
        if options.output:
            _write(options.output, result, rows, paths, options)
    except (ConfigError, CheckpointError, OSError, ValueError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 1
    return 0


def _write(
    folder: Path, result: dict[str, Any], rows: list[dict[str, Scores]], paths: list[Path], options: argparse.Namespace
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    each = [{"image": path.name, **row} for path, row in zip(paths, rows, strict=True)]
    text = json.dumps({**result, "each": each}, indent=2)
    (folder / "evaluation.json").write_text(text + "\n", encoding="utf-8")
    upscaler = Upscaler.load(options.weights, options.device)
    scale, name = upscaler.card.architecture.scale, upscaler.card.name
    order = np.argsort([row[name]["psnr"] - row["bicubic"]["psnr"] for row in rows])
    picked = {"worst": order[0], "median": order[len(order) // 2], "best": order[-1]}
    cases = [(title, reference(paths[index], options.protocol, scale)) for title, index in picked.items()]
    panel(folder / "panel.png", cases, {"bicubic": by_resampling("bicubic"), name: by_upscaler(upscaler)}, scale)


if __name__ == "__main__":
    sys.exit(main())
