"""The training configuration: TOML into frozen types; a key that does not exist stops the start."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model.generator import GeneratorConfig
from training.degrade import DEGRADATIONS

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class ConfigError(Exception):
    """A configuration that cannot be used; the message names key, value and remedy."""


class Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(Frozen):
    """Which images, and which parts of them."""

    root: Path  # a folder of PNG, JPEG or TIFF images, searched with its subfolders
    whole_size: Count = 256  # pixels: whole images are resized to this square, as in the seed
    crop: Count = 128  # high-resolution pixels
    whole_share: Share = 0.5  # of the crops from whole images; the others are cut at native resolution
    validation_percent: Annotated[int, Field(ge=1, le=50)] = 5  # of the patients
    patients: Annotated[int, Field(ge=0)] = 0  # at most so many patients; 0 takes all


class Optimiser(Frozen):
    """Adam with a linear warm-up and a cosine decay to zero."""

    steps: Count
    batch: Count = 16
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    betas: tuple[float, float] = (0.9, 0.99)
    warmup_steps: Annotated[int, Field(ge=0)] = 500
    average: Share = 0.999  # decay of the moving average of the weights, which is what is kept


class Inference(Frozen):
    """How the node cuts images for this generator, in low pixels."""

    tile: Count = 64
    overlap: Annotated[int, Field(ge=0)] = 16


class Every(Frozen):
    """How often, in steps."""

    log: Count = 100
    checkpoint: Count = 1000
    validate_: Annotated[Count, Field(alias="validate")] = 2000


class TrainingConfig(Frozen):
    """One experiment."""

    name: str
    version: str
    seed: int = 0
    licence: str = "MIT"
    sources: str = ""  # of the images and their licences, for the card
    runs: Path = Path("runs")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    threads: Annotated[int, Field(ge=0)] = 0  # 0: as many as the machine has
    degrade: tuple[str, ...] = ("area_mean", "quantise")
    data: Data
    optimiser: Optimiser
    generator: GeneratorConfig = GeneratorConfig()
    inference: Inference = Inference()
    every: Every = Every()

    def as_dict(self) -> dict[str, Any]:
        """Plain values that `TrainingConfig(**values)` takes back."""
        return self.model_dump(mode="json", by_alias=True)


def read(path: Path, settings: tuple[str, ...] = ()) -> TrainingConfig:
    """The configuration in a TOML file, changed by `key.key=value` settings. Raises ConfigError."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist") from None
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    for setting in settings:
        _change(values, setting)
    return build(values, where=str(path))


def build(values: dict[str, Any], where: str) -> TrainingConfig:
    """Check plain values; every mistake is named with its key. Raises ConfigError."""
    try:
        config = TrainingConfig(**values)
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, e['loc']))} = {e['input']!r}: {e['msg']}" for e in error.errors()]
        raise ConfigError(f"{where} is refused:\n" + "\n".join(lines)) from None
    unknown = [step for step in config.degrade if step not in DEGRADATIONS]
    if unknown:
        raise ConfigError(f"{where}: degrade = {unknown}: known steps are {', '.join(DEGRADATIONS)}")
    scale = config.generator.scale
    for key, size in (("data.crop", config.data.crop), ("data.whole_size", config.data.whole_size)):
        if size % scale:
            raise ConfigError(f"{where}: {key} = {size} must be a multiple of generator.scale = {scale}")
    if config.data.crop > config.data.whole_size:
        raise ConfigError(f"{where}: data.crop = {config.data.crop} exceeds data.whole_size = {config.data.whole_size}")
    return config


def _change(values: dict[str, Any], setting: str) -> None:
    key, separator, text = setting.partition("=")
    if not separator:
        raise ConfigError(f"--set {setting!r}: expected key=value, for example optimiser.steps=1000")
    *tables, last = key.strip().split(".")
    for table in tables:
        values = values.setdefault(table, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {setting!r}: {table} is a value, not a table")
    try:
        values[last] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        values[last] = text  # a bare word is a string
