"""The report of an evaluation: means, paired differences with their intervals, the extremes; JSON, Markdown, PNG."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from scipy.ndimage import uniform_filter

from model.checkpoint import Card
from training import metrics, pictures
from training.cases import Case
from training.images import Pixels
from training.methods import Method

BASELINE = "bicubic"
SOURCES = ("kermany", "nih", "dicom")  # as `patients.patient_of` names them
ZOOM = 4  # the second picture of a case shows one part in four of each side
HEADINGS = ("method", "PSNR dB", "shaved", "over bicubic (95 %)", "SSIM", "GMSD", "detail", "block error", "better")


@dataclass(frozen=True)
class Row:
    """One image and its scores by method."""

    path: Path
    patient: str
    scores: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Report:
    """What was measured, and on what."""

    protocol: str
    low: str
    cards: Mapping[str, Card]  # by the name that their method has
    rows: Sequence[Row]

    @property
    def methods(self) -> list[str]:
        """Classical ones first."""
        return list(self.rows[0].scores)

    def values(self, method: str, metric: str) -> list[float]:
        """One for each image."""
        return [row.scores[method][metric] for row in self.rows]

    def difference(self, method: str, other: str, rows: Sequence[Row] | None = None) -> dict[str, Any]:
        """Paired PSNR differences of two methods: mean, 95 % interval over patients, share of images above."""
        rows = self.rows if rows is None else rows
        gains = [row.scores[method]["psnr"] - row.scores[other]["psnr"] for row in rows]
        return {
            "psnr": float(np.mean(gains)),
            "interval": metrics.interval(gains, [row.patient for row in rows]),
            "better": float(np.mean(np.array(gains) > 0)),
            "worst": float(np.min(gains)),
        }

    def as_dict(self) -> dict[str, Any]:
        """Everything but the single images, as it goes into a card."""
        return {
            "protocol": self.protocol,
            "low": self.low,
            "images": len(self.rows),
            "patients": len({row.patient for row in self.rows}),
            "weights": {name: {"version": c.version, "sha256": c.sha256} for name, c in self.cards.items()},
            "methods": {method: self._means(method) for method in self.methods},
            "differences": {
                name: {other: self.difference(name, other) for other in self.methods if other != name}
                for name in self.cards
            },
            "sources": self._by_source(),
        }

    def _means(self, method: str) -> dict[str, float]:
        means = {m: float(np.mean(self.values(method, m))) for m in self.rows[0].scores[method]}
        return {**means, "consistency_error": max(self.values(method, "consistency_error"))}

    def _by_source(self) -> dict[str, Any]:
        """PSNR over bicubic for each publisher, told by the patient's name."""
        groups: dict[str, list[Row]] = {}
        for row in self.rows:
            source = row.patient.partition("-")[0]
            groups.setdefault(source if source in SOURCES else "other", []).append(row)
        return {
            source: {"images": len(rows), **{n: self.difference(n, BASELINE, rows)["psnr"] for n in self.cards}}
            for source, rows in sorted(groups.items())
        }

    def extremes(self) -> list[tuple[str, Row]]:
        """The best, the median and the worst image for the first weights, by PSNR over bicubic."""
        first = next(iter(self.cards))
        order = sorted(self.rows, key=lambda row: row.scores[first]["psnr"] - row.scores[BASELINE]["psnr"])
        return [("best", order[-1]), ("median", order[len(order) // 2]), ("worst", order[0])]

    def cells(self) -> list[list[str]]:
        """The table for people, row by row."""
        lines = []
        for method in self.methods:
            means, over = self._means(method), self.difference(method, BASELINE)
            low, high = over["interval"]
            lines.append(
                [
                    method,
                    f"{means['psnr']:.2f}",
                    f"{means['psnr_shaved']:.2f}",
                    "" if method == BASELINE else f"{over['psnr']:+.2f} ({low:+.2f} to {high:+.2f})",
                    f"{means['ssim']:.4f}",
                    f"{means['gmsd']:.4f}",
                    f"{means['detail']:.0%}",
                    f"{means['consistency_error']:.2f}",
                    "" if method == BASELINE else f"{over['better']:.1%}",
                ]
            )
        return lines

    @property
    def title(self) -> str:
        """What was measured on."""
        patients = len({row.patient for row in self.rows})
        return f"{self.protocol} protocol, low by {self.low}, {len(self.rows)} images of {patients} patients"

    def table(self) -> Table:
        """For the terminal."""
        shown = Table(title=self.title)
        for heading in HEADINGS:
            shown.add_column(heading, justify="left" if heading == "method" else "right")
        for line in self.cells():
            shown.add_row(*line)
        return shown

    def markdown(self) -> str:
        """For a document."""
        lines = [f"# {self.title}", "", _line(HEADINGS), _line(["---", *["---:"] * (len(HEADINGS) - 1)])]
        lines += [_line(cells) for cells in self.cells()]
        lines += ["", "PSNR over bicubic by source:", ""]
        names = list(self.cards)
        lines += [_line(["source", "images", *names]), _line(["---", *["---:"] * (1 + len(names))])]
        for source, values in self._by_source().items():
            lines.append(_line([source, str(values["images"]), *(f"{values[name]:+.2f} dB" for name in names)]))
        return "\n".join(lines) + "\n"

    def write(self, folder: Path) -> None:
        """evaluation.json and evaluation.md."""
        each = [{"image": row.path.name, "patient": row.patient, **row.scores} for row in self.rows]
        text = json.dumps({**self.as_dict(), "each": each}, indent=2)
        (folder / "evaluation.json").write_text(text + "\n", encoding="utf-8")
        (folder / "evaluation.md").write_text(self.markdown(), encoding="utf-8")


def draw(folder: Path, cases: Mapping[str, Case], methods: Mapping[str, Method], scale: int) -> None:
    """panel.png: each case whole, and where the original has most detail; the error of the first weights in colours."""
    rows: list[pictures.Row] = []
    for title, case in cases.items():
        results = {name: method(case.low, scale, case.peak) for name, method in methods.items()}
        shown = {"low": np.kron(case.low, np.ones((scale, scale), case.low.dtype)), **results, "high": case.high}
        first = next(name for name in methods if name != BASELINE)
        shown[f"{first} - high"] = pictures.difference(results[first], case.high)
        top, left, size = _busiest(case.high)
        part = {name: picture[top : top + size, left : left + size] for name, picture in shown.items()}
        rows += [(title, shown, case.peak), (f"{title}, part", part, case.peak)]
    pictures.panel(folder / "panel.png", rows)


def _busiest(high: Pixels) -> tuple[int, int, int]:
    """(top, left, size) of the square with the most detail."""
    size = min(high.shape) // ZOOM
    values = high.astype(np.float64)
    energy = uniform_filter((values - uniform_filter(values, 5)) ** 2, size)
    half = size // 2
    inner = energy[half : high.shape[0] - half, half : high.shape[1] - half]
    row, column = np.unravel_index(int(inner.argmax()), inner.shape)
    return int(row), int(column), size


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
