"""The folder of one run: configuration, revision, metrics, pictures, and checkpoints that a kill never breaks."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from model import checkpoint
from model.family import SuperResolver
from training import plots
from training.baselines import LIMIT
from training.config import ConfigError, TrainingConfig, build
from training.validation import OURS, RAW, gain, in_words

CONFIG, METRICS, STATE, PROGRESS, CURVES = "config.json", "metrics.jsonl", "state.pt", "progress.md", "curves.png"
LOCK = "lock"
CHECKPOINTS, PANELS, TENSORBOARD = "checkpoints", "panels", "tensorboard"
ORIGIN = ("revision", "began_as", "before", "processes", "changes")
Line = dict[str, Any]


class Run:
    """One run folder."""

    def __init__(self, folder: Path, config: TrainingConfig) -> None:
        self.folder, self.config = folder, config
        self._board: SummaryWriter | None = None

    @classmethod
    def start(cls, config: TrainingConfig, now: datetime, processes: int = 1) -> Run:
        """A new folder `NAME-xSCALE-YYYYMMDD-HHMMSS` below `runs`."""
        begun = f"{config.name}-x{config.generator.scale}-{now:%Y%m%d-%H%M%S}"
        folder = config.runs / begun
        number = 1
        while folder.exists():
            number += 1
            folder = config.runs / f"{begun}-{number}"
        for part in (CHECKPOINTS, PANELS):
            (folder / part).mkdir(parents=True)
        content = {
            "revision": _revision(),
            "started": now.isoformat(),
            **_beginning(config),
            "processes": processes,
            "config": config.as_dict(),
            "changes": [],
        }
        _write_config(folder, content)
        return cls(folder, config)

    @classmethod
    def open(cls, folder: Path) -> Run:
        """An existing folder. Raises ConfigError."""
        try:
            content = _read_config(folder)
            config = {key: content[key] for key in ("config", "revision", "changes")}["config"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{folder} is not the folder of a run: {error!r}") from None
        return cls(folder, build(config, where=str(folder / CONFIG)))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out of the folder. Raises ConfigError if one is in it."""
        with (self.folder / LOCK).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigError(f"{self.folder}: another process trains this run; stop it first") from None
            yield

    def check(self, config: TrainingConfig, step: int) -> None:
        """Whether the run can go on from a step with another configuration. Raises ConfigError."""
        for part in ("generator", "critic"):
            if getattr(config, part) != getattr(self.config, part):
                raise ConfigError(f"{self.folder}: a resumed run keeps its {part}; start a new run for another one")
        before, now = self.config.content.steps, config.content.steps
        if before != now and step > min(before, now):
            raise ConfigError(
                f"{self.folder} is at step {step}: it cannot change its content.steps, {before}, any more"
            )

    def change(self, config: TrainingConfig, step: int, processes: int = 1) -> None:
        """Go on with another configuration, or with other processes; the folder remembers what was before."""
        content = _read_config(self.folder)
        recipe = config.recipe()
        before = {key: value for key, value in self.config.recipe().items() if recipe.get(key) != value}
        if processes != content["processes"]:
            before["processes"] = content["processes"]
        if before:
            content["changes"].append({"step": step, "revision": _revision(), "before": before})
        _write_config(self.folder, {**content, "processes": processes, "config": config.as_dict()})
        self.config = config

    @property
    def origin(self) -> dict[str, Any]:
        """The code that started the run, the weights it began as and what made those, its processes, and what was
        changed on the way."""
        content = _read_config(self.folder)
        return {key: content[key] for key in ORIGIN if key in content}

    def lines(self) -> list[Line]:
        """All metrics, oldest first; a last line that a kill has torn is left out."""
        path = self.folder / METRICS
        lines = []
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            try:
                lines.append(json.loads(line))
            except ValueError:
                break
        return lines

    def rewind(self, step: int) -> None:
        """Forget what was logged after a step: a run that goes on from there says it again."""
        kept = [json.dumps(line) + "\n" for line in self.lines() if line["step"] <= step]
        _replace(self.folder / METRICS, "".join(kept))
        self._board = SummaryWriter(str(self.folder / TENSORBOARD), purge_step=step + 1)

    def log(self, step: int, **values: Any) -> None:
        """Append one line of metrics, and show its numbers in TensorBoard."""
        line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="seconds"), "step": step, **values})
        with (self.folder / METRICS).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        for name, value in values.items():
            if self._board is not None and isinstance(value, dict):
                for key, number in _numbers(value):
                    self._board.add_scalar(f"{key}/{name}", number, step)

    def save(self, state: dict[str, Any]) -> None:
        """Replace the state: written beside it, flushed to disk, then renamed over it."""
        written = self.folder / f"{STATE}.tmp"
        with written.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        written.replace(self.folder / STATE)

    def state(self) -> dict[str, Any] | None:
        """The last saved state, or None before the first one. Raises ConfigError for a damaged file."""
        path = self.folder / STATE
        if not path.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for a damaged file; all mean the same
            raise ConfigError(f"{path} is damaged; restore it, or delete it to begin again from step 0") from error
        return state

    def panel(self, step: int) -> Path:
        """Where the panel of a step belongs."""
        return self.folder / PANELS / f"step-{step:06}.png"

    def keep(self, generator: SuperResolver, step: int, stage: str, card: dict[str, Any]) -> None:
        """Weights that the node can load: those of this step, and a link to the best ones of each stage.

        The best of the content stage gains most over back-projection; of the adversarial one, which trades PSNR for
        texture, the spectrum is nearest to the original's, and the gradients (GMSD) are right.
        """
        folder = self.folder / CHECKPOINTS / f"step-{step:06}"
        written, old = folder.with_suffix(".tmp"), folder.with_suffix(".old")
        for left in (written, old):
            shutil.rmtree(left, ignore_errors=True)
        checkpoint.save(written / f"{self.config.name}{checkpoint.SUFFIX}", {generator.config.scale: generator}, **card)
        if folder.exists():  # made before by the same run, which was killed and has come here again
            folder.rename(old)
        written.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
        measured = [line for line in self.lines() if line.get("stage") == stage and "views" in line]
        best = max(measured, key=_content_score if stage == "content" else _texture_score)
        link = self.folder / CHECKPOINTS / f"best-{stage}"
        pointed = link.with_suffix(".tmp")
        pointed.unlink(missing_ok=True)
        pointed.symlink_to(f"step-{best['step']:06}")
        pointed.replace(link)

    def draw(self) -> None:
        """The curves and the progress table, as the metrics are now."""
        lines = self.lines()
        plots.curves(self.folder / CURVES, lines)
        _replace(self.folder / PROGRESS, _table(self.config.name, [line for line in lines if "views" in line]))


def _content_score(line: Line) -> float:
    return fmean(gain(means) for means in line["views"].values())


def _texture_score(line: Line) -> float:
    """Relative to back-projection, higher is better: distance of the spectrum, and of the gradients."""
    return -fmean(
        means[OURS][name] / max(means[LIMIT][name], 1e-9)
        for means in line["views"].values()
        for name in ("spectrum", "gmsd")
    )


def _table(name: str, lines: list[Line]) -> str:
    rows = [
        f"# {name}, on patients that it is not trained on",
        "",
        "PSNR in dB; raw: the network's own image, before the consistency step. Step 0: before anything was learned.",
        "",
        "| epoch | step | stage | view | bicubic | back-projection | ours | raw | over back-projection | SSIM "
        "| what can be seen | panel |",
        "|---:|---:|---|---|---:|---:|---:|---:|---:|---:|---|---|",
    ]
    for line in lines:
        panel = f"{PANELS}/step-{line['step']:06}.png"
        for view, means in line["views"].items():
            raw = f"{means[RAW]['psnr']:.2f}" if RAW in means else ""
            rows.append(
                f"| {line['epoch']:.1f} | {line['step']} | {line['stage']} | {view} | {means['bicubic']['psnr']:.2f} "
                f"| {means[LIMIT]['psnr']:.2f} | {means[OURS]['psnr']:.2f} | {raw} | {gain(means):+.2f} "
                f"| {means.get(RAW, means[OURS])['ssim']:.4f} | {in_words({view: means})} | [{line['step']}]({panel}) |"
            )
    return "\n".join(rows) + "\n"


def _numbers(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, float]]:
    """All numbers of a tree, with their path."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{above}{key}/")
        else:
            yield above + key, value


def _read_config(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    return content


def _write_config(folder: Path, content: dict[str, Any]) -> None:
    _replace(folder / CONFIG, json.dumps(content, indent=2) + "\n")


def _replace(path: Path, text: str) -> None:
    written = path.with_name(f"{path.name}.tmp")
    written.write_text(text, encoding="utf-8")
    written.replace(path)


def _beginning(config: TrainingConfig) -> dict[str, Any]:
    """Name, version and hash of the weights a run begins as, and how they were made; nothing for a start at random."""
    if not config.start.weights:
        return {"began_as": ""}
    card = checkpoint.read_card(checkpoint.find(config.start.weights))
    return {"began_as": card.identity, "before": card.training.get(f"x{config.generator.scale}", card.training)}


def _revision() -> str:
    """Of this code, where git knows it."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        answer = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return answer.stdout.strip() or "unknown"
