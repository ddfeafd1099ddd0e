"""Pictures of a run: panels of images side by side, and curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from training.images import Pixels

Row = tuple[str, Mapping[str, Pixels], int]  # title, pictures by name, peak
DIFFERENCE = 0.1  # of the peak: where the colours of a difference end


def panel(path: Path, rows: Sequence[Row]) -> None:
    """A PNG with one row for each case, each beside its title; signed arrays are differences, shown in colours."""
    columns = len(rows[0][1])
    figure = Figure(figsize=(2.6 * columns, 2.8 * len(rows)))
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    _margins(figure, 0.1, between=0.04)
    for line, (title, pictures, peak) in zip(axes, rows, strict=True):
        for axis, (name, picture) in zip(line, pictures.items(), strict=True):
            if picture.dtype.kind == "u":
                axis.imshow(picture, cmap="gray", vmin=0, vmax=peak, interpolation="nearest")
            else:
                reach = DIFFERENCE * peak
                axis.imshow(picture, cmap="coolwarm", vmin=-reach, vmax=reach, interpolation="nearest")
            axis.set_title(name, fontsize=8)
            axis.set_xticks([])
            axis.set_yticks([])
        line[0].set_ylabel(title, fontsize=8)
    _save(figure, path)


def difference(one: Pixels, other: Pixels) -> Pixels:
    """One minus the other, signed."""
    return one.astype(np.int32) - other.astype(np.int32)


def curves(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A PNG of all losses, and of PSNR and SSIM beside the classical methods, over the steps of a run."""
    losses = sorted({name for row in rows for name in row.get("losses", {})})
    measured = [row for row in rows if "views" in row]
    views = [(view, metric) for view in measured[0]["views"] for metric in ("psnr", "ssim")] if measured else []
    names = [*losses, *views]
    figure = Figure(figsize=(10, 2.6 * ((len(names) + 1) // 2)))
    FigureCanvasAgg(figure)
    axes = figure.subplots((len(names) + 1) // 2, 2, squeeze=False).flatten()
    _margins(figure, 0.5, between=0.15)
    for axis, name in zip(axes, names, strict=False):
        if isinstance(name, str):
            points = [(row["step"], row["losses"][name]) for row in rows if name in row.get("losses", {})]
            axis.plot(*zip(*points, strict=True), linewidth=0.8)
        else:
            view, metric = name
            for method in (key for key, value in measured[0]["views"][view].items() if isinstance(value, dict)):
                points = [(row["step"], row["views"][view][method][metric]) for row in measured]
                axis.plot(*zip(*points, strict=True), marker=".", label=method)
            axis.legend(fontsize=7)
            name = f"{view}, {metric}"
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("step", fontsize=7)
        axis.tick_params(labelsize=7)
    for axis in axes[len(names) :]:
        axis.axis("off")
    _save(figure, path)


def _margins(figure: Figure, above_and_below: float, between: float) -> None:
    """Room for titles, in inches above and below each row; matplotlib's own layouts take most of the drawing time."""
    height = figure.get_figheight()
    figure.subplots_adjust(left=0.06, right=0.99, wspace=between)
    figure.subplots_adjust(bottom=above_and_below / height, top=1 - 0.3 / height, hspace=0.12 + 0.6 * above_and_below)


def _save(figure: Figure, path: Path) -> None:
    written = path.with_suffix(".tmp")
    figure.savefig(written, dpi=110, format="png")
    written.replace(path)
