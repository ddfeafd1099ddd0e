"""Pictures of a run: panels of images side by side, and curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from training.images import Pixels

Row = tuple[str, Mapping[str, Pixels], int]  # title, pictures by name, peak
DIFFERENCE = 0.1  # of the peak: where the colours of a difference end
SIDE = 288  # pixels: a picture in a panel is about so large; one of up to twice as many stands as it is
TEXT, GAP = 16, 8  # pixels of a line of text, and between pictures


def panel(path: Path, rows: Sequence[Row]) -> None:
    """A PNG with one row for each case below its title; signed arrays are differences, shown in colours."""
    lines = [_line(*row) for row in rows]
    sheet = Image.new("RGB", (max(line.width for line in lines), sum(line.height for line in lines)), "white")
    top = 0
    for line in lines:
        sheet.paste(line, (0, top))
        top += line.height
    written = path.with_suffix(".tmp")
    sheet.save(written, "PNG", compress_level=1)
    written.replace(path)


def _line(title: str, pictures: Mapping[str, Pixels], peak: int) -> Image.Image:
    """Pictures side by side, all as large as the largest of them: whole numbers of pixels for one where they fit."""
    height, width = (max(picture.shape[axis] for picture in pictures.values()) for axis in (0, 1))
    enlarged = SIDE / max(height, width)
    enlarged = max(1, int(enlarged)) if enlarged > 0.5 else enlarged
    size = (max(1, round(width * enlarged)), max(1, round(height * enlarged)))
    line = Image.new("RGB", ((size[0] + GAP) * len(pictures), size[1] + 2 * TEXT + GAP), "white")
    draw, font = ImageDraw.Draw(line), ImageFont.load_default(TEXT - 4)
    draw.text((0, 0), title, "black", font)
    for column, (name, picture) in enumerate(pictures.items()):
        left = column * (size[0] + GAP)
        how = Image.Resampling.NEAREST if enlarged >= 1 else Image.Resampling.BOX
        line.paste(_shown(picture, peak).resize(size, how), (left, 2 * TEXT))
        draw.text((left, TEXT), name, "black", font)
    return line


def _shown(picture: Pixels, peak: int) -> Image.Image:
    """Grey values from 0 to the peak, or a difference: white for none, red above, blue below."""
    if picture.dtype.kind == "u":
        return Image.fromarray(np.rint(picture / peak * 255).clip(0, 255).astype(np.uint8)).convert("RGB")
    signed = (picture / (DIFFERENCE * peak)).clip(-1, 1)
    colours = np.stack([1 + signed.clip(max=0), 1 - np.abs(signed), 1 - signed.clip(min=0)], axis=-1)
    return Image.fromarray(np.rint(colours * 255).astype(np.uint8))


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
    written = path.with_suffix(".tmp")
    figure.savefig(written, dpi=110, format="png")
    written.replace(path)


def _margins(figure: Figure, above_and_below: float, between: float) -> None:
    """Room for titles, in inches above and below each row; matplotlib's own layouts take most of the drawing time."""
    height = figure.get_figheight()
    figure.subplots_adjust(left=0.06, right=0.99, wspace=between)
    figure.subplots_adjust(bottom=above_and_below / height, top=1 - 0.3 / height, hspace=0.12 + 0.6 * above_and_below)
