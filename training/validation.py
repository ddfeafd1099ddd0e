"""What a checkpoint is worth: measured on whole images of held-out patients, beside bicubic, and shown."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.upscaler import Upscaler
from training import metrics
from training.degrade import Degradation, Scene, degrade_stored
from training.images import Pixels, Radiograph
from training.methods import CLASSICAL, by_upscaler
from training.pictures import Row, difference, panel

SHOWN = 4  # images of a panel, evenly spread over the validation set


class Validation:
    """The held-out images with their low ones, degraded as in training, and bicubic's results."""

    def __init__(self, images: Sequence[Radiograph], steps: tuple[Degradation, ...], scale: int) -> None:
        self._scale = scale
        self._names = [os.fsencode(image.path.name).decode(errors="replace") for image in images]
        self._highs = [(image.whole, image.peak) for image in images]
        self._lows = [
            degrade_stored(image.whole, steps, Scene(scale, image.peak, np.random.default_rng(index)))
            for index, image in enumerate(images)
        ]
        self._bicubic = [
            CLASSICAL["bicubic"](low, scale, image.peak) for low, image in zip(self._lows, images, strict=True)
        ]
        self._of_bicubic = self._scores(self._bicubic)

    def measure(self, upscaler: Upscaler) -> tuple[dict[str, Any], list[Pixels]]:
        """(means of ours and of bicubic, the words for them; our images)."""
        ours = by_upscaler(upscaler)
        results = [ours(low, self._scale, peak) for low, (_, peak) in zip(self._lows, self._highs, strict=True)]
        scores = self._scores(results)
        better = int((scores["psnr"] > self._of_bicubic["psnr"]).sum())
        means = {
            "ours": {name: float(values.mean()) for name, values in scores.items()},
            "bicubic": {name: float(values.mean()) for name, values in self._of_bicubic.items()},
            "better": better,
            "images": len(results),
        }
        return {**means, "seen": _in_words(means)}, results

    def show(self, path: Path, results: Sequence[Pixels]) -> None:
        """A panel of a few images: low, bicubic, ours, high, and what ours is wrong by."""
        chosen = np.linspace(0, len(results) - 1, min(SHOWN, len(results))).astype(int)
        panel(path, [self._row(int(index), results[int(index)]) for index in chosen])

    def _row(self, index: int, result: Pixels) -> Row:
        high, peak = self._highs[index]
        pictures = {
            "low": self._lows[index],
            "bicubic": self._bicubic[index],
            "ours": result,
            "high": high,
            "ours - high": difference(result, high),
        }
        return self._names[index], pictures, peak

    def _scores(self, results: Sequence[Pixels]) -> dict[str, NDArray[np.float64]]:
        each = [metrics.quality(result, *high) for result, high in zip(results, self._highs, strict=True)]
        return {name: np.array([scores[name] for scores in each]) for name in each[0]}


def _in_words(means: dict[str, Any]) -> str:
    """What a person would see in the panel."""
    ours, bicubic = means["ours"], means["bicubic"]
    sharp = f"{ours['detail']:.0%} of the original's fine detail (bicubic {bicubic['detail']:.0%})"
    if ours["psnr"] < bicubic["psnr"]:
        told = "further from the original than bicubic"
    elif ours["detail"] > 1.1:
        told = "grainier than the original"
    elif ours["detail"] < bicubic["detail"] + 0.02:
        told = "hardly to be told from bicubic"
    elif ours["psnr"] < bicubic["psnr"] + 1:
        told = "edges a little sharper than bicubic"
    else:
        told = "edges and vessels clearly sharper than bicubic"
    return f"{told}; {sharp}; better on {means['better']} of {means['images']}"
