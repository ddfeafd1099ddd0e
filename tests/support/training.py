"""What the tests of the training share: a tiny experiment on phantoms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from dicom_sr_node.tools import phantom
from training import config as configuration
from training import fit
from training.config import TrainingConfig
from training.run import Run

CONFIG = """
name = "tiny"
version = "1"
seed = 3
threads = 1
runs = "{runs}"
[data]
root = "{root}"
whole_size = 64
crop = 32
validation_percent = 20
[content]
steps = 6
batch = 2
warmup_steps = 2
[generator]
width = 8
blocks = 1
edge_kernel = 3
batch_norm = true
attention = false
tail = "shuffle"
[critic]
width = 4
dense = 8
[inference]
tile = 32
overlap = 8
[every]
log = 1
save = 3
checkpoint = 6
"""
ADVERSARIAL = (
    "adversarial.steps=4",
    "adversarial.batch=2",
    "adversarial.critic_steps=2",
    "adversarial.perceptual_weight=0",
    "adversarial.adversarial_weight=0.1",
)


def make_images(root: Path, patients: range = range(6), name: str = "person{}_bacteria_{}.png") -> Path:
    """Two phantoms of each patient, in the Kermany naming."""
    root.mkdir(parents=True, exist_ok=True)
    for patient in patients:
        for number in range(2):
            pixels = (phantom.draw(80, seed=10 * patient + number) >> 4).astype(np.uint8)
            Image.fromarray(pixels).save(root / name.format(patient, number))
    return root


def set_all(settings: Sequence[str]) -> list[str]:
    """As the command line has them."""
    return [part for setting in settings for part in ("--set", setting)]


def train(config_file: Path, *settings: str) -> Run:
    """A run from its start to its end."""
    config = configuration.read(config_file, settings)
    before = set(config.runs.glob("*"))
    assert fit.main([str(config_file), *set_all(settings)]) == 0
    (folder,) = set(config.runs.glob("*")) - before
    return Run.open(folder)


def state(run: Run) -> dict[str, Any]:
    found = run.state()
    assert found is not None
    return found


def same(one: Any, other: Any) -> bool:
    """Equal to the bit, all the way down."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return bool(one == other)


def read(config_file: Path, *settings: str) -> TrainingConfig:
    return configuration.read(config_file, settings)
