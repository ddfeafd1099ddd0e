"""The suite: every test of the image, its limit, and whether weights keep it.

Each row says what is known independently, what was measured and what is demanded. Weights that miss a limit are not
served. All is measured through `Upscaler`, as the node uses it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch

from model.checkpoint import SUITE
from model.interpolation import bicubic, consistent
from model.physics import noise, phantoms, rings, transfer
from model.physics.phantoms import PEAK, Pixels, Values
from model.upscaler import Upscaler

CONTRAST = 0.6  # of the slanted edge, as a share of the peak
CONTRASTS = (0.04, 0.2, 0.8)
PASSED_BARS, LOST_BARS = (0.2, 0.3, 0.4, 0.45), (0.55, 0.7)  # cycles per low pixel
BARS_SIDE = 80  # low pixels: whole periods of all these frequencies
PHASES = (0.0, 0.125, 0.3)
FLAT_NOISE = 40.0  # standard deviation in low pixels
FLAT_SIDE = 192  # low pixels
DISCS = ((6.0, 60.0), (12.0, 30.0))  # diameter in high pixels at x4, contrast
DISC_NOISE = 160.0  # standard deviation in high pixels at x4
ESTIMATOR = 0.01  # how far the estimator may be from what theory says
Sign = Literal["<=", ">=", "=="]
Enlarge = Callable[[Pixels], Values]


class NoVerdict(Exception):
    """The estimator is wrong about what is known: nothing it says of weights counts."""


@dataclass(frozen=True)
class SuiteRow:
    """One test at one scale."""

    test: str
    known: str  # independently: what theory says, or what classical methods measure
    value: float
    sign: Sign
    limit: float

    @property
    def passed(self) -> bool:
        """Whether the limit is kept; a value that is no number keeps none."""
        if not math.isfinite(self.value):
            return False
        return {"<=": self.value <= self.limit, ">=": self.value >= self.limit, "==": self.value == self.limit}[
            self.sign
        ]


@dataclass(frozen=True)
class ScaleResult:
    """All rows of one scale, and the curves behind them."""

    scale: int
    rows: tuple[SuiteRow, ...]
    curves: dict[str, list[float]]  # MTF and noise power by frequency in cycles per low pixel

    def as_dict(self) -> dict[str, Any]:
        """For a card."""
        rows = [{**asdict(row), "passed": row.passed} for row in self.rows]
        return {"rows": rows, "curves": {name: [round(v, 5) for v in values] for name, values in self.curves.items()}}


@dataclass(frozen=True)
class Examination:
    """What the suite found of some weights."""

    sha256: str
    scales: tuple[ScaleResult, ...]
    images: int  # that the correlation was measured on
    of: str  # which images

    @property
    def passed(self) -> bool:
        """Whether every limit is kept at every scale."""
        return all(row.passed for scale in self.scales for row in scale.rows)

    def as_dict(self) -> dict[str, Any]:
        """For a card."""
        return {
            "suite": SUITE,
            "sha256": self.sha256,
            "passed": self.passed,
            "images": self.images,
            "of": self.of,
            **{f"x{one.scale}": one.as_dict() for one in self.scales},
        }


def examine(
    upscaler: Upscaler,
    images: Sequence[Pixels],
    of: str,
    progress: Callable[[str], None] = lambda line: None,
) -> Examination:
    """Run the suite at every scale. images: radiographs of 8 to 16 bits for the ring correlation, `of` says which.

    Raises NoVerdict.
    """
    results = []
    for scale in upscaler.scales:
        progress(f"x{scale}")
        results.append(_examine(upscaler, scale, images))
    return Examination(upscaler.card.sha256, tuple(results), len(images), of)


def _examine(upscaler: Upscaler, scale: int, images: Sequence[Pixels]) -> ScaleResult:
    ours = partial(_by_upscaler, upscaler, scale)
    cubic, limit = (partial(_classical, method, scale) for method in (bicubic, consistent))
    check_estimator(scale)
    curves: dict[str, list[float]] = {}
    rows = [
        *_edge(ours, scale, curves),
        *_contrasts(ours, scale),
        *_bars(ours, cubic, scale),
        *_flat_noise(ours, limit, scale, curves),
        *_discs(ours, cubic, scale),
        *_invariance(upscaler, scale),
        *_rings(upscaler, images, scale),
    ]
    return ScaleResult(scale, tuple(rows), curves)


def check_estimator(scale: int) -> None:
    """Hold the edge estimator against three kernels whose modulation is known. Raises NoVerdict."""
    high, low = transfer.original(scale, CONTRAST)
    images = {"original": high, "nearest": _nearest(scale, low), "bicubic": _classical(bicubic, scale, low)}
    for kind, image in images.items():
        measured = transfer.edge_response(image, scale).at(0.5)
        known = transfer.known_mtf(kind, 0.5, scale)
        if abs(measured - known) > ESTIMATOR:
            raise NoVerdict(
                f"x{scale}: the modulation of {kind} at 0.5 is {known:.3f}; the estimator says {measured:.3f}"
            )


def _edge(ours: Enlarge, scale: int, curves: dict[str, list[float]]) -> Iterable[SuiteRow]:
    high, low = transfer.original(scale, CONTRAST)
    response, truth = transfer.edge_response(ours(low), scale), transfer.edge_response(high, scale)
    cubic = transfer.edge_response(_classical(bicubic, scale, low), scale)
    limit = transfer.edge_response(_classical(consistent, scale, low), scale)
    inside = truth.frequency <= scale / 2
    thin = np.flatnonzero(inside)[:: max(1, inside.sum() // 32)]
    curves["frequency"] = truth.frequency[thin].tolist()
    for name, one in (("original", truth), ("ours", response), ("bicubic", cubic), ("consistent", limit)):
        curves[f"mtf {name}"] = one.mtf[thin].tolist()
    best = transfer.known_mtf("original", 0.5, scale)
    against = f"original {best:.3f}, bicubic {transfer.known_mtf('bicubic', 0.5, scale):.3f}"
    yield SuiteRow("edge: modulation at 0.5", against, response.at(0.5), ">=", round(0.9 * min(1.0, best / 0.974), 3))
    excess = float((response.mtf - truth.mtf)[inside].max())
    yield SuiteRow("edge: modulation above the original's", "0", excess, "<=", 0.02)
    yield SuiteRow("edge: overshoot", f"bicubic {cubic.overshoot:.3f}", response.overshoot, "<=", 0.06)


def _contrasts(ours: Enlarge, scale: int) -> Iterable[SuiteRow]:
    responses = [transfer.edge_response(ours(transfer.original(scale, c)[1]), scale) for c in CONTRASTS]
    spread = max(np.ptp([response.at(f) for response in responses]) for f in (0.5, 1.0))
    yield SuiteRow("edge at contrasts of 4, 20 and 80 %: modulation apart", "0", float(spread), "<=", 0.02)


def _bars(ours: Enlarge, cubic: Enlarge, scale: int) -> Iterable[SuiteRow]:
    def bars(frequency: float, phase: float) -> tuple[Values, Pixels]:
        high = phantoms.bars(BARS_SIDE, scale, frequency, phase)
        return high, phantoms.stored(phantoms.area_mean(high, scale))

    for frequency in PASSED_BARS:
        shown = [bars(frequency, phase) for phase in PHASES]
        gains = [transfer.gain(ours(low), high, frequency, scale) for high, low in shown]
        of_cubic = min(transfer.gain(cubic(low), high, frequency, scale).real for high, low in shown)
        yield SuiteRow(
            f"bars at {frequency}: gain",
            f"bicubic {of_cubic:.3f}",
            min(g.real for g in gains),
            ">=",
            round(of_cubic, 3),
        )
        yield SuiteRow(f"bars at {frequency}: out of phase", "0", max(abs(g.imag) for g in gains), "<=", 0.1)
    for frequency in LOST_BARS:
        shown = [bars(frequency, phase) for phase in PHASES]
        nearest = max(transfer.alias(_nearest(scale, low), high, frequency, scale) for high, low in shown)
        alias = max(transfer.alias(ours(low), high, frequency, scale) for high, low in shown)
        yield SuiteRow(f"bars at {frequency}: alias", f"nearest {nearest:.3f}", alias, "<=", round(1.3 * nearest, 3))


def _flat_noise(ours: Enlarge, limit: Enlarge, scale: int, curves: dict[str, list[float]]) -> Iterable[SuiteRow]:
    low = phantoms.stored(phantoms.GRAY + phantoms.noise(FLAT_SIDE, FLAT_NOISE, seed=1))
    result, classical = ours(low), limit(low)
    known = f"consistent interpolation {classical.std() / low.std():.3f} of the input's"
    yield SuiteRow("flat noise: deviation over consistent", known, float(result.std() / classical.std()), "<=", 1.0)
    frequency, power = noise.power(result, scale)
    source, of_source = noise.power(low.astype(np.float64), 1, side=64)
    _, of_classical = noise.power(classical, scale)
    per_area = float(scale) ** 4  # a transform sums: the same power in scale^2 as many pixels
    curves["noise frequency"] = frequency.tolist()
    curves["noise ours"] = (power / per_area / of_source.mean()).tolist()
    curves["noise consistent"] = (of_classical / per_area / of_source.mean()).tolist()
    lowest = power[1] / per_area / np.interp(frequency[1], source, of_source)
    yield SuiteRow("flat noise: power at low frequencies over the input's", "1", abs(float(lowest) - 1), "<=", 0.1)


def _discs(ours: Enlarge, cubic: Enlarge, scale: int) -> Iterable[SuiteRow]:
    for diameter, contrast in DISCS:
        # at x2 a low pixel is two high ones: the same disc in low pixels, in as much noise of low pixels
        disc = (diameter * scale / 4, contrast, DISC_NOISE * scale / 4)
        our_scores, cubic_scores = (noise.scores(method, scale, *disc) for method in (ours, cubic))
        value, lowest, highest = noise.ratio(our_scores, cubic_scores)
        against = f"ratio {value:.3f} ({lowest:.3f} to {highest:.3f})"
        yield SuiteRow(
            f"discs of {disc[0]:g} pixels in noise: d' over bicubic's, lower 95 % bound", against, lowest, ">=", 0.98
        )


def _invariance(upscaler: Upscaler, scale: int) -> Iterable[SuiteRow]:
    def run(low: Pixels, **more: Any) -> Values:
        return upscaler.upscale(np.ascontiguousarray(low), scale, **{"value_range": (0, PEAK), **more}).astype(
            np.float64
        )

    _, low = transfer.original(scale, CONTRAST / 2)
    step = CONTRAST / 2 * PEAK
    result = run(low)
    turned = [np.rot90(run(np.rot90(low, k)), -k) for k in (1, 2, 3)]
    mirrored = [run(low[:, ::-1])[:, ::-1], run(low[::-1])[::-1], run(low.T).T]
    flats = max(float(np.abs(run(np.full((24, 24), value, np.uint16)) - value).max()) for value in (0, 1000, PEAK))
    yield SuiteRow("flat fields: changed by", "0", flats, "==", 0.0)
    yield SuiteRow("offset of 100: changed by", "0", float(np.abs(run(low + 100) - 100 - result).max()), "==", 0.0)
    inverted = PEAK - run(PEAK - low, inverted=True)
    yield SuiteRow("MONOCHROME1: changed by, stored values", "0", float(np.abs(inverted - result).max()), "<=", 1.0)
    doubled = run(2 * low, value_range=(0, 2 * PEAK)) / 2
    yield SuiteRow("gain of 2: changed by, of the step", "0", float(np.abs(doubled - result).max() / step), "<=", 0.005)
    apart = max(float(np.abs(image - result).max() / step) for image in (*turned, *mirrored))
    yield SuiteRow("turned and mirrored: changed by, of the step", "0", apart, "<=", 0.02)
    yield SuiteRow("edges at right angles in one image: apart, of the step", "0", _right_angles(run, scale), "<=", 0.1)


def _right_angles(run: Callable[[Pixels], Values], scale: int) -> float:
    """An edge and the same one about the diagonal, side by side: how differently the network sees them."""
    _, low = transfer.original(scale, CONTRAST / 2)
    result = run(np.hstack([low, low.T]))
    upright, lying = np.hsplit(result, 2)
    inner = slice(4 * transfer.MARGIN, -4 * transfer.MARGIN)
    return float(np.abs(upright - lying.T)[inner, inner].max() / (CONTRAST / 2 * PEAK))


def _rings(upscaler: Upscaler, images: Sequence[Pixels], scale: int) -> Iterable[SuiteRow]:
    counts = np.zeros((2, 2), int)
    for image in images:
        height, width = (length // scale * scale for length in image.shape)
        high = image[:height, :width].astype(np.float64)
        low = np.rint(phantoms.area_mean(high, scale)).astype(image.dtype)
        results = (upscaler.upscale(low, scale).astype(np.float64), _classical(bicubic, scale, low))
        counts += [rings.disagreeing(result, high, scale) for result in results]
    ours, theirs = (float(unlike / max(total, 1)) for unlike, total in counts)
    yield SuiteRow(
        "ring correlation: patches unlike the original", f"bicubic {theirs:.4f}", ours, "<=", round(theirs, 4)
    )


def _by_upscaler(upscaler: Upscaler, scale: int, low: Pixels) -> Values:
    result: Values = upscaler.upscale(low, scale, value_range=(0, PEAK)).astype(np.float64)
    return result


def _nearest(scale: int, low: Pixels) -> Values:
    return np.asarray(np.kron(low, np.ones((scale, scale))), np.float64)


def _classical(method: Callable[[torch.Tensor, int], torch.Tensor], scale: int, low: np.ndarray) -> Values:
    """Rounded as a result is, and not clipped."""
    high = method(torch.from_numpy(low.astype(np.float32))[None, None], scale)[0, 0].numpy()
    return np.asarray(np.rint(high), np.float64)
