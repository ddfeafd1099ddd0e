"""Training runs of a folder: their curves and panels as they grow. Only their files are read."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicom_sr_node.domain.errors import NotFound

_NAME = re.compile(r"[\w.+-]{1,100}")
_METRICS, _CURVES, _PANELS = "metrics.jsonl", "curves.png", "panels"
_MOST_RUNS, _MOST_PANELS = 50, 6
_TAIL = 64 << 10  # bytes of the metrics that are read


@dataclass(frozen=True)
class TrainingRun:
    """One folder of `python -m training.fit`."""

    name: str
    changed_at: float
    last: dict[str, Any]  # the newest line of its metrics
    curves: str  # a file, or nothing
    panels: tuple[str, ...]  # the newest first


def ls(folder: Path | None) -> list[TrainingRun]:
    """The newest first; none where no folder is configured."""
    if folder is None or not folder.is_dir():
        return []
    runs = [_run(path) for path in folder.iterdir() if (path / _METRICS).is_file() and _NAME.fullmatch(path.name)]
    return sorted(runs, key=lambda run: run.changed_at, reverse=True)[:_MOST_RUNS]


def picture(folder: Path | None, run: str, file: str) -> Path:
    """A PNG of a run. Raises NotFound, also for a name that leads elsewhere."""
    names_are_plain = _NAME.fullmatch(run) and _NAME.fullmatch(file) and not {run, file} & {".", ".."}
    if folder is not None and names_are_plain and file.endswith(".png"):
        for path in (folder / run / file, folder / run / _PANELS / file):
            if path.is_file():
                return path
    raise NotFound("there is no such picture")


def _run(path: Path) -> TrainingRun:
    metrics = path / _METRICS
    panels = sorted((path / _PANELS).glob("*.png"), reverse=True) if (path / _PANELS).is_dir() else []
    names = tuple(panel.name for panel in panels if _NAME.fullmatch(panel.name))[:_MOST_PANELS]
    curves = _CURVES if (path / _CURVES).is_file() else ""
    return TrainingRun(path.name, metrics.stat().st_mtime, _last_line(metrics), curves, names)


def _last_line(metrics: Path) -> dict[str, Any]:
    """The newest whole line: another process may be writing the next one."""
    with metrics.open("rb") as file:
        file.seek(max(0, metrics.stat().st_size - _TAIL))
        lines = file.read().splitlines()
    for line in reversed(lines):
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(values, dict):
            continue
        return {key: value for key, value in values.items() if isinstance(value, int | float | str)}
    return {}
