"""Weights on disk: a safetensors file beside a JSON card that names it, describes it and holds its hash."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from model import architectures
from model.family import ArchitectureConfig, SuperResolver

WEIGHTS = Path(__file__).parent / "weights"
SUFFIX = ".safetensors"
SUITE = 1  # the physics suite whose results count (`model.physics.suite`); it grows when a test or a limit changes
Generators = dict[int, SuperResolver]  # by scale
Usual = tuple[float, float, float]  # shares of contrast: sources up to this noise got from so much to so much detail


class CheckpointError(Exception):
    """Weights that cannot be used; the message names the file and the remedy."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """Who these weights are. `sha256` is of the safetensors file and is their identity everywhere."""

    name: str
    version: str
    sha256: str
    architecture: ArchitectureConfig  # of the generator of each scale
    scales: tuple[int, ...]  # largest first; for each there is a generator of its own
    family: str = architectures.DEFAULT  # of `model.architectures`
    tile: int  # low pixels: the longest side the generator is given at once
    overlap: int  # low pixels that neighbouring tiles share
    training: dict[str, Any] = field(default_factory=dict)  # data, degradation, recipe
    metrics: dict[str, Any] = field(default_factory=dict)  # measured on patients the model never saw, beside bicubic
    usual_detail: dict[str, list[Usual]] = field(default_factory=dict)  # by scale, then by rising noise; measured
    physics: dict[str, Any] = field(default_factory=dict)  # what `model.physics.suite` found
    weaknesses: list[str] = field(default_factory=list)  # known ones, in words
    licence: str = ""

    @property
    def unproven(self) -> str:
        """Why these weights may not be served without being asked for, or nothing: what the physics suite said."""
        if not self.physics:
            return "its card holds no result of the physics suite"
        if self.physics.get("sha256") != self.sha256:
            return "the physics suite was run on other weights"
        if self.physics.get("suite") != SUITE:
            return f"it was run through another physics suite than number {SUITE}"
        missed = [
            f"{row['test']} (x{scale})"
            for scale in self.scales
            for row in self.physics.get(f"x{scale}", {}).get("rows") or [{"test": "no row", "passed": False}]
            if not row["passed"]
        ]
        return f"it misses limits of the physics suite: {'; '.join(missed)}" if missed else ""

    @property
    def identity(self) -> str:
        """For people: name, version and the first digits of the hash."""
        return f"{self.name} {self.version} ({self.sha256[:12]})"

    def as_dict(self) -> dict[str, Any]:
        """The content of the JSON file."""
        architecture = self.architecture.as_dict()
        del architecture["scale"]  # of the first one only
        return {**self.__dict__, "architecture": architecture}


def available(folder: Path = WEIGHTS) -> list[str]:
    """The names of the weights in a folder."""
    return sorted(path.stem for path in folder.glob(f"*{SUFFIX}"))


def find(name: str, folder: Path = WEIGHTS) -> Path:
    """The weights file for a name, or for a path to one. Raises CheckpointError."""
    path = Path(name) if name.endswith(SUFFIX) else folder / f"{name}{SUFFIX}"
    if not path.is_file():
        known = ", ".join(available(folder)) or "none"
        raise CheckpointError(
            f"no weights {name!r}: {path} does not exist; known names: {known}; or give the path of a {SUFFIX} file"
        )
    return path


def read_card(path: Path) -> Card:
    """The card beside a weights file. Raises CheckpointError."""
    card_path = path.with_suffix(".json")
    try:
        values = json.loads(card_path.read_text(encoding="utf-8"))
        plain = values["architecture"]
        scales = tuple(sorted(values.get("scales") or [plain["scale"]], reverse=True))
        if plain.get("output") == "detail":  # the name that cards before version 2 have for it
            plain["output"] = "bicubic"
            values.pop("usual_detail", None)  # measured against bicubic, and whatever the noise
        row = architectures.architecture(values.get("family", architectures.DEFAULT))
        return Card(**{**values, "architecture": row.config(**{**plain, "scale": scales[0]}), "scales": scales})
    except FileNotFoundError:
        raise CheckpointError(f"{path} has no card: {card_path} is missing; export weights with their card") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise CheckpointError(f"the card {card_path} cannot be read: {error!r}") from error


def load(path: Path) -> tuple[Generators, Card]:
    """The generators in evaluation mode and their card; fails closed if the file is not the one the card describes."""
    card = read_card(path)
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != card.sha256:
        raise CheckpointError(
            f"{path} is not what its card describes: sha256 {digest}, the card says {card.sha256}; restore both files"
        )
    try:
        tensors = load_tensors(content)
        generators = {
            scale: architectures.build(replace(card.architecture, scale=scale)).eval() for scale in card.scales
        }
        for scale, generator in generators.items():
            generator.load_state_dict(_of_scale(tensors, scale))
    except Exception as error:  # safetensors and torch raise many kinds; all mean the same to the caller
        raise CheckpointError(f"{path} does not fit the architecture of its card: {error}") from error
    return generators, card


def save(path: Path, generators: Generators, **card: Any) -> Card:
    """Write weights and card; `card` holds the fields of `Card` except hash, family, architecture and scales."""
    scales = tuple(sorted(generators, reverse=True))
    tensors = {
        f"x{scale}.{name}": tensor.detach().cpu().contiguous()
        for scale in scales
        for name, tensor in generators[scale].state_dict().items()
    }
    content = save_tensors(tensors)
    digest = hashlib.sha256(content).hexdigest()
    config = generators[scales[0]].config
    family = architectures.family_of(config)
    written = Card(sha256=digest, family=family, architecture=config, scales=scales, **card)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    text = json.dumps(written.as_dict(), indent=2, ensure_ascii=False)
    path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    return written


def updated(path: Path, **fields: Any) -> str:
    """The text of the card beside a weights file with some fields changed; the others stay."""
    content = {**json.loads(path.with_suffix(".json").read_text(encoding="utf-8")), **fields}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _of_scale(tensors: dict[str, Tensor], scale: int) -> dict[str, Tensor]:
    """One generator's part; files before version 2 hold a single one, without a prefix."""
    prefix = f"x{scale}."
    if not any(name.startswith(prefix) for name in tensors):
        return tensors
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
