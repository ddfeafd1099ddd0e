"""What a checkpoint is worth on held-out patients, beside the classical methods, and how it looks.

Two views: whole images squeezed as in the seed, and parts at native resolution, which is what a node gets every day.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training import metrics
from training.baselines import CLASSICAL, LIMIT, Method
from training.config import TrainingConfig, View
from training.degrade import degrade_stored, scene_of
from training.images import Pixels, Radiograph
from training.plots import Row, difference, panel

SHOWN = 2  # images of a view in a panel, evenly spread
BESIDE = ("bicubic", LIMIT)
OURS = "ours"
RAW = "raw"  # the network's own image, before the consistency step
PART = 256  # pixels: the side of a part at native resolution
Means = dict[str, dict[str, float]]  # by method, then by metric


@dataclass(frozen=True)
class _Case:
    name: str
    high: Pixels
    low: Pixels
    peak: int


class Validation:
    """The held-out images with their low ones, degraded without chance, and the classical results."""

    def __init__(self, images: Sequence[Radiograph], config: TrainingConfig) -> None:
        self._scale = config.generator.scale
        steps = tuple(step for step in config.degrade if not hasattr(step, "chance"))
        self._cases: dict[View, list[_Case]] = {}
        for view in ("whole", "native"):
            chosen = [image for image in images if image.serves(view) and min(image.shape) >= metrics.SMALLEST]
            if chosen and (config.data.shares[view] or view == "whole"):
                self._cases[view] = [_case(image, view, steps, self._scale) for image in chosen]
        self._beside = {view: {name: self._results(CLASSICAL[name], view) for name in BESIDE} for view in self._cases}
        self._means = {
            view: {name: self._scores(results, view) for name, results in methods.items()}
            for view, methods in self._beside.items()
        }

    def measure(self, ours: Mapping[str, Method]) -> tuple[dict[str, Any], dict[View, list[Pixels]]]:
        """(what is known of each view: means by method, and on how many images ours is better; our images).

        ours: the methods to measure, the first of them OURS.
        """
        means: dict[str, Any] = {}
        pictures: dict[View, list[Pixels]] = {}
        for view, cases in self._cases.items():
            results = {name: self._results(method, view) for name, method in ours.items()}
            scores = {**{name: self._scores(images, view) for name, images in results.items()}, **self._means[view]}
            gains = np.array(scores[OURS]["psnr"]) - np.array(scores[LIMIT]["psnr"])
            means[view] = {
                "images": len(cases),
                "better": int((gains > 0).sum()),
                "worst": float(gains.min()),
                **{
                    name: {metric: float(np.mean(each)) for metric, each in one.items()} for name, one in scores.items()
                },
            }
            pictures[view] = results[list(ours)[-1]]
        return {"views": means, "seen": in_words(means)}, pictures

    def show(self, path: Path, results: Mapping[View, Sequence[Pixels]]) -> None:
        """A panel of a few images: low, classical, ours, high, and what ours is wrong by."""
        rows = []
        for view, images in results.items():
            chosen = np.linspace(0, len(images) - 1, min(SHOWN, len(images))).astype(int)
            rows += [self._row(view, int(index), images[int(index)]) for index in chosen]
        panel(path, rows)

    def _row(self, view: View, index: int, result: Pixels) -> Row:
        case = self._cases[view][index]
        pictures = {
            "low": case.low,
            **{name: self._beside[view][name][index] for name in BESIDE},
            OURS: result,
            "high": case.high,
            "ours - high": difference(result, case.high),
        }
        return f"{view}: {case.name}", pictures, case.peak

    def _results(self, method: Method, view: View) -> list[Pixels]:
        return [method(case.low, self._scale, case.peak) for case in self._cases[view]]

    def _scores(self, results: Sequence[Pixels], view: View) -> dict[str, list[float]]:
        """One of each metric for each image that is not constant."""
        pairs = zip(results, self._cases[view], strict=True)
        each = [metrics.quality(result, case.high) for result, case in pairs if np.ptp(case.high)]
        return {name: [scores[name] for scores in each] for name in each[0]}


def _case(image: Radiograph, view: View, steps: Sequence[Any], scale: int) -> _Case:
    pixels = image.view(view)
    size = [min(PART, length) // scale * scale for length in pixels.shape]
    top, left = ((length - side) // 2 for length, side in zip(pixels.shape, size, strict=True))
    high = np.ascontiguousarray(pixels[top : top + size[0], left : left + size[1]])
    scene = scene_of(high, image.peak, scale, np.random.default_rng(0))
    name = os.fsencode(image.path.name).decode(errors="replace")
    return _Case(name, high, degrade_stored(high, tuple(steps), scene), image.peak)


def gain(means: Mapping[str, Any], other: str = LIMIT) -> float:
    """PSNR of ours over another method's, in dB: of the network's own image where a run trains without consistency."""
    return float(means.get(RAW, means[OURS])["psnr"] - means[other]["psnr"])


def in_words(views: Mapping[str, Mapping[str, Any]]) -> str:
    """What a person would see in the panel, held against the best classical method."""
    sentences = []
    for view, means in views.items():
        ours, limit = means.get(RAW, means[OURS]), means[LIMIT]
        above = gain(means)
        if above < -0.05:
            seen = "further from the original than back-projection"
        elif ours["detail"] > 1.1:
            seen = "grainier than the original"
        elif above < 0.15:
            seen = "hardly to be told from back-projection"
        elif above < 0.5:
            seen = "edges a little sharper than back-projection's"
        else:
            seen = "edges and vessels clearly sharper than back-projection's"
        sentences.append(
            f"{view}: {seen}; {ours['detail']:.0%} of the original's fine detail "
            f"(back-projection {limit['detail']:.0%}); better on {means['better']} of {means['images']}"
        )
    return ". ".join(sentences)
