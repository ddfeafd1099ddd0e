"""The report of an evaluation: means, paired differences with their intervals, the extremes; JSON, Markdown, PNG."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from scipy.ndimage import uniform_filter

from model.checkpoint import Card
from training import metrics, plots
from training.baselines import BACK_PROJECTION, CLASSICAL, Method
from training.evaluation_set import Case, Question
from training.images import Pixels

BASELINE = BACK_PROJECTION  # what a gain is told over
SOURCES = ("kermany", "nih", "dicom")  # as `patients.patient_of` names them
ZOOM = 4  # the second picture of a case shows one part in four of each side
LOSS = 0.03  # dB below back-projection: less than anybody could see, or measure twice
HEADINGS = (
    "method",
    "PSNR dB",
    "over bicubic",
    "over back-projection (95 %)",
    "above each classical",
    "worst",
    "SSIM",
    "GMSD",
    "spectrum dB",
    "detail",
    "block error",
)


@dataclass(frozen=True)
class ReportRow:
    """One image and its scores by method."""

    path: Path
    patient: str
    scores: Mapping[str, Mapping[str, float]]

    @property
    def source(self) -> str:
        """The publisher, told by the patient's name."""
        source = self.patient.partition("-")[0]
        return source if source in SOURCES else "other"


@dataclass(frozen=True)
class Measured:
    """What was measured under one question."""

    question: Question
    names: Sequence[str]  # of the weights
    rows: Sequence[ReportRow]

    @property
    def methods(self) -> list[str]:
        """Classical ones first."""
        return list(self.rows[0].scores)

    def values(self, method: str, metric: str, rows: Sequence[ReportRow] | None = None) -> np.ndarray:
        """One for each image."""
        return np.array([row.scores[method][metric] for row in (self.rows if rows is None else rows)])

    def difference(self, method: str, other: str, rows: Sequence[ReportRow] | None = None) -> dict[str, Any]:
        """Paired PSNR differences of two methods: mean, 95 % interval over patients, share above, worst.

        not_below: the share of images that lose no more than LOSS.
        """
        rows = self.rows if rows is None else rows
        gains = self.values(method, "psnr", rows) - self.values(other, "psnr", rows)
        return {
            "psnr": float(gains.mean()),
            "interval": metrics.interval(gains.tolist(), [row.patient for row in rows]),
            "better": float((gains > 0).mean()),
            "not_below": float((gains >= -LOSS).mean()),
            "worst": float(gains.min()),
        }

    def above_all(self, method: str) -> float:
        """The share of images on which a method beats each classical one."""
        best = np.max([self.values(name, "psnr") for name in CLASSICAL], axis=0)
        return float((self.values(method, "psnr") > best).mean())

    def as_dict(self) -> dict[str, Any]:
        """Everything but the single images, as it goes into a card."""
        return {
            **asdict(self.question),
            "images": len(self.rows),
            "patients": len({row.patient for row in self.rows}),
            "methods": {method: self._means(method) for method in self.methods},
            "differences": {
                name: {other: self.difference(name, other) for other in self.methods if other != name}
                for name in self.names
            },
            "above_each_classical": {name: self.above_all(name) for name in self.names},
            "sources": self._by_source(),
        }

    def _means(self, method: str) -> dict[str, float]:
        means = {m: float(self.values(method, m).mean()) for m in self.rows[0].scores[method]}
        return {**means, "consistency_error": float(self.values(method, "consistency_error").max())}

    def _by_source(self) -> dict[str, Any]:
        """PSNR over bicubic and over back-projection for each publisher."""
        groups: dict[str, list[ReportRow]] = {}
        for row in self.rows:
            groups.setdefault(row.source, []).append(row)
        return {
            source: {
                "images": len(rows),
                **{
                    name: {other: self.difference(name, other, rows) for other in ("bicubic", BASELINE)}
                    for name in (BASELINE, *self.names)
                },
            }
            for source, rows in sorted(groups.items())
        }

    def extremes(self) -> list[tuple[str, ReportRow]]:
        """The best, the median and the worst image for the first weights, by PSNR over back-projection."""
        first = self.names[0]
        order = sorted(self.rows, key=lambda row: row.scores[first]["psnr"] - row.scores[BASELINE]["psnr"])
        return [("best", order[-1]), ("median", order[len(order) // 2]), ("worst", order[0])]


@dataclass(frozen=True)
class Report:
    """All tables of one evaluation."""

    cards: Mapping[str, Card]  # by the name that their method has
    tables: Sequence[Measured]

    def as_dict(self) -> dict[str, Any]:
        """Everything but the single images."""
        weights = {name: {"version": c.version, "sha256": c.sha256} for name, c in self.cards.items()}
        return {"weights": weights, "tables": [table.as_dict() for table in self.tables]}

    def shown(self) -> list[Table]:
        """For the terminal."""
        return [_rich(content) for content in self.as_dict()["tables"]]

    def write(self, folder: Path) -> None:
        """evaluation.json and evaluation.md."""
        content = self.as_dict()
        for table, written in zip(self.tables, content["tables"], strict=True):
            written["each"] = [{"image": r.path.name, "patient": r.patient, **r.scores} for r in table.rows]
        text = json.dumps(content, indent=2)
        (folder / "evaluation.json").write_text(text + "\n", encoding="utf-8")
        pages = [markdown(table) for table in content["tables"]]
        (folder / "evaluation.md").write_text("\n".join(pages), encoding="utf-8")


def title(table: Mapping[str, Any]) -> str:
    """What a table was measured on."""
    question = Question(table["protocol"], table["scale"], table["variant"], table["low"])
    return f"{question}: {table['images']} images of {table['patients']} patients"


def cells(table: Mapping[str, Any]) -> list[list[str]]:
    """A table as it stands in a card, for people, row by row."""
    lines = []
    for method, means in table["methods"].items():
        ours = table["differences"].get(method, {})
        over = {"bicubic": means["psnr"] - table["methods"]["bicubic"]["psnr"]}
        below, above = ours[BASELINE]["interval"] if ours else (0.0, 0.0)
        lines.append(
            [
                method,
                f"{means['psnr']:.2f}",
                "" if method == "bicubic" else f"{over['bicubic']:+.2f}",
                f"{ours[BASELINE]['psnr']:+.2f} ({below:+.2f} to {above:+.2f})" if ours else "",
                f"{table['above_each_classical'][method]:.1%}" if ours else "",
                f"{ours[BASELINE]['worst']:+.2f}" if ours else "",
                f"{means['ssim']:.4f}",
                f"{means['gmsd']:.4f}",
                f"{means['spectrum']:.2f}",
                f"{means['detail']:.0%}",
                f"{means['consistency_error']:.2f}",
            ]
        )
    return lines


def markdown(table: Mapping[str, Any]) -> str:
    """A table as it stands in a card, for a document."""
    lines = [f"### {title(table)}", "", _line(HEADINGS), _line(["---", *["---:"] * (len(HEADINGS) - 1)])]
    lines += [_line(line) for line in cells(table)]
    names = list(table["differences"])
    lines += ["", _line(["over back-projection, by source", "images", *names])]
    lines.append(_line(["---", *["---:"] * (1 + len(names))]))
    for source, values in table["sources"].items():
        gains = [values[name][BASELINE] for name in names]
        differences = [f"{g['psnr']:+.2f} dB, {g['not_below']:.0%} not below, worst {g['worst']:+.2f}" for g in gains]
        lines.append(_line([source, str(values["images"]), *differences]))
    return "\n".join(lines) + "\n"


def _rich(table: Mapping[str, Any]) -> Table:
    shown = Table(title=title(table))
    for heading in HEADINGS:
        shown.add_column(heading, justify="left" if heading == "method" else "right")
    for line in cells(table):
        shown.add_row(*line)
    return shown


def draw(folder: Path, cases: Mapping[str, Case], methods: Mapping[str, Method], scale: int) -> None:
    """panel.png: each case whole, and where the original has most detail; the error of the first weights in colours."""
    rows: list[plots.Row] = []
    for name, case in cases.items():
        results = {method: enlarge(case.low, scale, case.peak) for method, enlarge in methods.items()}
        shown = {"low": np.kron(case.low, np.ones((scale, scale), case.low.dtype)), **results, "high": case.high}
        first = next(method for method in methods if method not in CLASSICAL)
        shown[f"{first} - high"] = plots.difference(results[first], case.high)
        top, left, size = _busiest(case.high)
        part = {method: picture[top : top + size, left : left + size] for method, picture in shown.items()}
        rows += [(name, shown, case.peak), (f"{name}, part", part, case.peak)]
    plots.panel(folder / "panel.png", rows)


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
