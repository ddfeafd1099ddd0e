"""The folder of one run: configuration, revision, metrics, and checkpoints that a kill never leaves broken."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from training.config import ConfigError, TrainingConfig, build

CONFIG, METRICS, STATE = "config.json", "metrics.jsonl", "state.pt"


class Run:
    """One run folder."""

    def __init__(self, folder: Path, config: TrainingConfig) -> None:
        self.folder, self.config = folder, config

    @classmethod
    def start(cls, config: TrainingConfig, now: datetime) -> Run:
        """A new folder `NAME-YYYYMMDD-HHMMSS` below `runs`."""
        folder = config.runs / f"{config.name}-{now:%Y%m%d-%H%M%S}"
        folder.mkdir(parents=True)
        content = {"revision": _revision(), "started": now.isoformat(), "config": config.as_dict()}
        (folder / CONFIG).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        return cls(folder, config)

    @classmethod
    def open(cls, folder: Path) -> Run:
        """An existing folder. Raises ConfigError."""
        try:
            content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{folder} is not the folder of a run: {error}") from None
        return cls(folder, build(content["config"], where=str(folder / CONFIG)))

    def log(self, **values: Any) -> None:
        """Append one line of metrics."""
        line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="seconds"), **values})
        with (self.folder / METRICS).open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def save(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint: written beside it, flushed to disk, then renamed over it."""
        written = self.folder / f"{STATE}.tmp"
        with written.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        written.replace(self.folder / STATE)

    def state(self) -> dict[str, Any] | None:
        """The last checkpoint, or None before the first one."""
        path = self.folder / STATE
        if not path.exists():
            return None
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return state


def _revision() -> str:
    answer = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return answer.stdout.strip() or "unknown"
