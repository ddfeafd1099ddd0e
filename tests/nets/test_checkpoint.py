"""Weights are loaded only if they are what their card says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from model import checkpoint
from model.checkpoint import CheckpointError
from model.generator import Generator, GeneratorConfig

TINY = GeneratorConfig(width=8, blocks=1, edge_kernel=3, batch_norm=False, attention=False, tail="shuffle")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    checkpoint.save(path, Generator(TINY), name="tiny", version="1", tile=32, overlap=8)
    return path


def test_weights_come_back_as_they_were(weights: Path) -> None:
    generator, card = checkpoint.load(weights)
    assert card.architecture == TINY
    assert (card.name, card.version) == ("tiny", "1")
    again, _ = checkpoint.load(weights)
    assert all(torch.equal(a, b) for a, b in zip(generator.parameters(), again.parameters(), strict=True))


def test_one_altered_byte_is_refused(weights: Path) -> None:
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CheckpointError, match="is not what its card describes"):
        checkpoint.load(weights)


def test_weights_without_a_card_are_refused(weights: Path) -> None:
    weights.with_suffix(".json").unlink()
    with pytest.raises(CheckpointError, match="has no card"):
        checkpoint.load(weights)


@pytest.mark.parametrize("text", ["", "[]", '{"name": "x"}', '{"architecture": 3}', "not json"])
def test_a_broken_card_is_refused(weights: Path, text: str) -> None:
    weights.with_suffix(".json").write_text(text)
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoint.load(weights)


def test_weights_of_another_architecture_are_refused(weights: Path) -> None:
    card_path = weights.with_suffix(".json")
    card = json.loads(card_path.read_text())
    card["architecture"]["width"] = 16
    card_path.write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match="does not fit the architecture"):
        checkpoint.load(weights)


def test_a_pickle_is_refused(weights: Path, tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, weights)
    with pytest.raises(CheckpointError):
        checkpoint.load(weights)


def test_an_unknown_name_tells_the_known_ones() -> None:
    with pytest.raises(CheckpointError, match="cxr-x4-lite"):
        checkpoint.find("nonsense")


def test_auto_is_the_full_generator_on_a_gpu_where_it_is_installed(tmp_path: Path) -> None:
    assert checkpoint.default_name(torch.device("cpu"), tmp_path) == "cxr-x4-lite"
    assert checkpoint.default_name(torch.device("cuda"), tmp_path) == "cxr-x4-lite"
    (tmp_path / "cxr-x4.safetensors").touch()
    assert checkpoint.default_name(torch.device("cuda"), tmp_path) == "cxr-x4"
    assert checkpoint.default_name(torch.device("cpu"), tmp_path) == "cxr-x4-lite"
