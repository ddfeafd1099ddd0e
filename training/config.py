"""The training configuration: TOML into frozen types; a key that does not exist stops the start."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, create_model

from model import architectures
from model.critic import CriticConfig
from model.family import ArchitectureConfig
from model.generator import GeneratorConfig
from model.vgg import LAYERS
from training.augment import Augmentation
from training.degrade import SHRINKING, AreaMean, Degradation, Quantise
from training.losses import PIXEL_LOSSES

Share = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Number = Annotated[int, Field(ge=0)]
Weight = Annotated[float, Field(ge=0)]
Rate = Annotated[float, Field(gt=0, le=1)]
Size = Annotated[int, Field(ge=32)]  # pixels: below, the windows of the metrics do not fit


def _is_pixel_loss(name: str) -> str:
    if name not in PIXEL_LOSSES:
        raise ValueError(f"there is no pixel loss {name!r}; known: {', '.join(PIXEL_LOSSES)}")
    return name


PixelLoss = Annotated[str, AfterValidator(_is_pixel_loss)]
View = Literal[
    "native", "whole", "fit"
]  # of an image: as it is, squeezed into a square, or shrunk with its aspect ratio


class ConfigError(Exception):
    """A configuration that cannot be used; the message names key, value and remedy."""


class TrainingSection(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(TrainingSection):
    """Which images, and which parts of them."""

    root: Path  # a folder of PNG, JPEG, TIFF or DICOM radiographs, searched with its subfolders
    split: Literal["auto", "patients", "folders"] = "auto"  # folders: train, val (and test, never read); auto: if there
    validation_percent: Annotated[int, Field(ge=1, le=50)] = 5  # of the patients, chosen by id
    patients: Number = 0  # at most so many patients; 0 takes all
    whole_size: Size = 256  # pixels: whole images are resized to this square, as in the seed
    crop: Count = 128  # high-resolution pixels
    whole_share: Share = 0.5  # of the crops from whole images, squeezed into a square as in the seed
    fit_share: Share = 0.0  # from whole images with their aspect ratio kept; the shorter side has whole_size
    phantom_share: Share = 0.0  # drawn by formula; all other crops are cut at native resolution
    bars_share: Share = 0.2  # of the phantoms that are line pairs
    bars_above: Share = 0.85  # of these that are too fine for the low image
    native: tuple[str, ...] = ()  # folders of parts at native resolution, none of them whole; none: any image is both
    augment: tuple[Augmentation, ...] = ("flip",)
    workers: Number = 0  # processes that cut and degrade ahead of the device; 0: the training process itself
    cache: Path | None = None  # a folder for decoded images, read from there by all workers; none: held in memory

    @property
    def shares(self) -> dict[View | Literal["phantom"], float]:
        """Of the crops, by where they come from; together one."""
        rest = 1 - self.whole_share - self.fit_share - self.phantom_share
        native = rest if rest > 1e-9 else 0.0
        return {"whole": self.whole_share, "fit": self.fit_share, "phantom": self.phantom_share, "native": native}


class Start(TrainingSection):
    """What the generator begins as."""

    weights: str = ""  # a name or a path: as they are, or grown into a larger generator; empty: at random


class Teacher(TrainingSection):
    """A larger generator whose results the content stage learns from, beside the images (Hinton et al. 2015)."""

    weights: str = ""  # a name or a path; empty: none
    share: Share = 0.5  # of the loss; the rest is the distance to the image itself


class Content(TrainingSection):
    """The first stage: pixels alone; Adam with a linear warm-up and a cosine decay to zero."""

    steps: Number
    batch: Count = 16  # of each process
    learning_rate: Rate = 2e-3
    betas: tuple[Decay, Decay] = (0.9, 0.99)
    warmup_steps: Number = 500
    gradient_limit: Annotated[float, Field(gt=0)] = 1.0  # of its norm; a longer gradient is shortened to it


class Adversarial(TrainingSection):
    """The second stage: a critic with a gradient penalty, features of VGG19, and pixels."""

    steps: Number = 0  # of the generator
    batch: Count = 16  # of each process
    critic_steps: Count = 7  # for each step of the generator
    learning_rate: Rate = 2e-4
    betas: tuple[Decay, Decay] = (0.5, 0.9)
    penalty_weight: Weight = 10.0
    adversarial_weight: Weight = 1e-3
    pixel_weight: Weight = 1.0
    perceptual_weight: Weight = 1.0
    perceptual_layers: Annotated[tuple[str, ...], Field(min_length=1)] = ("relu1_2", "relu2_2", "relu3_1")
    vgg: Path | None = None  # torchvision's vgg19-dcbb9e9d.pth, or the normalised prefix up to relu3_1
    upsampling_decay: Weight = 0.0  # L2 on the weights of the upsampling blocks
    critic_limit: Annotated[float, Field(gt=0)] = 1e4  # a critic loss beyond it counts as diverged, and the run stops


class Inference(TrainingSection):
    """How the node cuts images for this generator, in low pixels."""

    tile: Count = 64
    overlap: Number = 16


class Intervals(TrainingSection):
    """How often, in steps."""

    log: Count = 100  # a line of metrics
    save: Count = 500  # the state that --resume goes on from
    checkpoint: Count = 2000  # validation, a row and a panel, and weights that can be used


class TrainingConfig(TrainingSection):
    """One experiment."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]  # of the run folder and the weights file
    version: str
    seed: Number = 0
    licence: str = "MIT"
    sources: str = ""  # of the images and their licences, for the card
    weaknesses: tuple[str, ...] = ()  # known ones, for the card
    runs: Path = Path("runs")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # of the forward passes; auto: bfloat16 on CUDA
    threads: Number = 0  # 0: as many as the machine has
    compile: bool = (
        False  # the content stage's forward and backward passes by torch.compile: minutes to begin, then faster
    )
    deterministic: bool = False  # refuse operations whose result changes from run to run, at some cost in speed
    accumulate: Count = 1  # parts in which each batch goes through the device
    average: Decay = 0.999  # decay of the moving average of the weights, which is what is kept
    pixel: PixelLoss = "relative"  # of `losses.PIXEL_LOSSES`; relative: to the error of the consistent interpolation
    consistent: bool = True  # the losses see the image after the consistency step, as the node sends it
    degrade: tuple[Degradation, ...] = (AreaMean(), Quantise())
    data: Data
    start: Start = Start()
    teacher: Teacher = Teacher()
    content: Content
    adversarial: Adversarial = Adversarial()
    family: str = architectures.DEFAULT  # of the generator, in `model.architectures`
    generator: ArchitectureConfig = GeneratorConfig()  # the values of that family
    critic: CriticConfig = CriticConfig()
    inference: Inference = Inference()
    every: Intervals = Intervals()

    @property
    def steps(self) -> int:
        """Of the generator, in both stages."""
        return self.content.steps + self.adversarial.steps

    def as_dict(self) -> dict[str, Any]:
        """Plain values that `build` takes back."""
        return self.model_dump(mode="json")

    def recipe(self) -> dict[str, Any]:
        """What made the weights, for the card: no path and no setting of the machine they were made on."""
        values = self.as_dict()
        for private in ("runs", "device", "threads", "compile", "every", "weaknesses"):
            del values[private]
        for private in ("root", "cache", "workers"):
            del values["data"][private]
        values["start"]["weights"] = Path(self.start.weights).stem
        values["teacher"]["weights"] = Path(self.teacher.weights).stem
        if not self.teacher.weights:
            del values["teacher"]
        del values["adversarial"]["vgg"]
        if not self.adversarial.steps:
            del values["adversarial"], values["critic"]
        return values


def read(path: Path, settings: tuple[str, ...] = ()) -> TrainingConfig:
    """The configuration in a TOML file, changed by `key.key=value` settings. Raises ConfigError."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist") from None
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return _with(values, settings, where=str(path))


def changed(config: TrainingConfig, settings: tuple[str, ...], where: str) -> TrainingConfig:
    """A configuration with other values for some keys. Raises ConfigError."""
    return _with(config.as_dict(), settings, where)


def _with(values: dict[str, Any], settings: tuple[str, ...], where: str) -> TrainingConfig:
    for setting in settings:
        _change(values, setting)
    return build(values, where)


def build(values: dict[str, Any], where: str) -> TrainingConfig:
    """Check plain values; every mistake is named with its key. Raises ConfigError."""
    try:
        config = _type_for(str(values.get("family", architectures.DEFAULT)))(**values)
    except ValueError as error:
        if not isinstance(error, ValidationError):
            raise ConfigError(f"{where} is refused:\n  family: {error}") from None
        lines = [f"  {'.'.join(map(str, e['loc']))} = {e['input']!r}: {e['msg']}" for e in error.errors()]
        raise ConfigError(f"{where} is refused:\n" + "\n".join(lines)) from None
    if mistakes := _mistakes(config):
        raise ConfigError(f"{where} is refused:\n" + "\n".join(f"  {mistake}" for mistake in mistakes))
    return config


@cache
def _type_for(family: str) -> type[TrainingConfig]:
    """`TrainingConfig` with the values of a family's generators under `generator`. Raises ValueError."""
    config = architectures.architecture(family).config
    return create_model("TrainingConfig", __base__=TrainingConfig, generator=(config, config()))


def _mistakes(config: TrainingConfig) -> list[str]:
    """What no single key shows."""
    mistakes = []
    scale, data, adversarial = config.generator.scale, config.data, config.adversarial
    if not config.steps:
        mistakes.append("content.steps and adversarial.steps are both 0: there is nothing to train")
    for key, size in (("data.crop", data.crop), ("data.whole_size", data.whole_size)):
        if size % scale:
            mistakes.append(f"{key} = {size} must be a multiple of generator.scale = {scale}")
    if data.crop > data.whole_size and data.whole_share + data.fit_share:
        mistakes.append(f"data.crop = {data.crop} exceeds data.whole_size = {data.whole_size}")
    if (taken := data.whole_share + data.fit_share + data.phantom_share) > 1 + 1e-9:
        mistakes.append(f"data.whole_share, fit_share and phantom_share together are {taken:g}; they must not exceed 1")
    if sum(isinstance(step, SHRINKING) for step in config.degrade) != 1:
        mistakes.append('degrade must hold exactly one of "area_mean" and "bicubic"')
    for key, stage in (("content", config.content), ("adversarial", adversarial)):
        if stage.steps and stage.batch % config.accumulate:
            mistakes.append(f"accumulate = {config.accumulate} must divide {key}.batch = {stage.batch}")
    if config.inference.tile <= 2 * config.inference.overlap:
        mistakes.append(
            f"inference.tile = {config.inference.tile} must exceed twice inference.overlap = {config.inference.overlap}"
        )
    if adversarial.steps and data.crop < 16:
        mistakes.append(f"data.crop = {data.crop}: the critic needs at least 16 pixels")
    if unknown := [layer for layer in adversarial.perceptual_layers if layer not in LAYERS]:
        mistakes.append(
            f"adversarial.perceptual_layers: VGG19 has no {unknown[0]!r}; its layers are {', '.join(LAYERS)}"
        )
    if adversarial.steps and adversarial.perceptual_weight and config.generator.channels not in (1, 3):
        mistakes.append(f"generator.channels = {config.generator.channels}: VGG19 sees 1 or 3")
    if adversarial.steps and adversarial.perceptual_weight and adversarial.vgg is None:
        mistakes.append(
            f"adversarial.perceptual_weight = {adversarial.perceptual_weight} needs adversarial.vgg, the path of "
            "torchvision's vgg19-dcbb9e9d.pth (https://download.pytorch.org/models/vgg19-dcbb9e9d.pth); or train "
            "without the perceptual loss: adversarial.perceptual_weight = 0"
        )
    return mistakes


def _change(values: dict[str, Any], setting: str) -> None:
    key, separator, text = setting.partition("=")
    if not separator:
        raise ConfigError(f"--set {setting!r}: expected key=value, for example content.steps=1000")
    *tables, last = key.strip().split(".")
    for table in tables:
        values = values.setdefault(table, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {setting!r}: {table} is a value, not a table")
    try:
        values[last] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        values[last] = text  # a bare word is a string
