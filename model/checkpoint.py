"""Weights on disk: a safetensors file beside a JSON card that names it, describes it and holds its hash."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from model.generator import Generator, GeneratorConfig

WEIGHTS = Path(__file__).parent / "weights"
SUFFIX = ".safetensors"


class CheckpointError(Exception):
    """Weights that cannot be used; the message names the file and the remedy."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """Who these weights are. `sha256` is of the safetensors file and is their identity everywhere."""

    name: str
    version: str
    sha256: str
    architecture: GeneratorConfig
    tile: int  # low pixels: the longest side the generator is given at once
    overlap: int  # low pixels that neighbouring tiles share
    training: dict[str, Any] = field(default_factory=dict)  # data, degradation, recipe
    metrics: dict[str, Any] = field(default_factory=dict)  # measured on patients the model never saw, beside bicubic
    usual_detail: dict[str, tuple[float, float]] = field(default_factory=dict)  # by scale; `model.detail`, measured
    weaknesses: list[str] = field(default_factory=list)  # known ones, in words
    licence: str = ""

    @property
    def identity(self) -> str:
        """For people: name, version and the first digits of the hash."""
        return f"{self.name} {self.version} ({self.sha256[:12]})"

    def as_dict(self) -> dict[str, Any]:
        """The content of the JSON file."""
        return {**self.__dict__, "architecture": self.architecture.as_dict()}


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
        return Card(**{**values, "architecture": GeneratorConfig(**values["architecture"])})
    except FileNotFoundError:
        raise CheckpointError(f"{path} has no card: {card_path} is missing; export weights with their card") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"the card {card_path} cannot be read: {error!r}") from error


def load(path: Path) -> tuple[Generator, Card]:
    """The generator in evaluation mode and its card; fails closed if the file is not the one the card describes."""
    card = read_card(path)
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != card.sha256:
        raise CheckpointError(
            f"{path} is not what its card describes: sha256 {digest}, the card says {card.sha256}; restore both files"
        )
    try:
        generator = Generator(card.architecture)
        generator.load_state_dict(load_tensors(content))
    except Exception as error:  # safetensors and torch raise many kinds; all mean the same to the caller
        raise CheckpointError(f"{path} does not fit the architecture of its card: {error}") from error
    return generator.eval(), card


def save(path: Path, generator: Generator, **card: Any) -> Card:
    """Write weights and card; `card` holds the fields of `Card` except hash and architecture."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in generator.state_dict().items()}
    content = save_tensors(tensors)
    written = Card(sha256=hashlib.sha256(content).hexdigest(), architecture=generator.config, **card)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    text = json.dumps(written.as_dict(), indent=2, ensure_ascii=False)
    path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    return written


def default_name(device: torch.device, folder: Path = WEIGHTS) -> str:
    """What `auto` means: the full generator on a GPU where its weights are installed, else the lite one."""
    return "cxr-x4" if device.type == "cuda" and "cxr-x4" in available(folder) else "cxr-x4-lite"
