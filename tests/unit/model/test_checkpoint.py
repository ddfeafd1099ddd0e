"""Weights are loaded only if they are what their card says."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save as save_tensors

from model import checkpoint, torch_backend
from model.checkpoint import CheckpointError
from model.family import SuperResolver
from model.generator import Generator, GeneratorConfig

TINY = GeneratorConfig(width=8, blocks=1, edge_kernel=3, batch_norm=False, attention=False, tail="shuffle")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    checkpoint.save(
        path, {4: Generator(TINY), 2: Generator(replace(TINY, scale=2))}, name="tiny", version="1", tile=32, overlap=8
    )
    return path


def test_weights_come_back_as_they_were(weights: Path) -> None:
    generators, card = checkpoint.load(weights)
    assert card.architecture == TINY
    assert (card.name, card.version, card.scales) == ("tiny", "1", (4, 2))
    again, _ = checkpoint.load(weights)
    for scale, generator in generators.items():
        assert generator.config.scale == scale
        assert same(generator, again[scale])


def same(one: SuperResolver, other: SuperResolver) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_weights_of_version_one_still_load(tmp_path: Path) -> None:
    """One generator without a prefix, a card without scales, detail on bicubic: they serve their own scale alone."""
    path, generator = tmp_path / "old.safetensors", Generator(replace(TINY, output="bicubic"))
    content = save_tensors(generator.state_dict())
    path.write_bytes(content)
    architecture = {**generator.config.as_dict(), "output": "detail"}
    del architecture["attention_pool"]
    card = {"name": "old", "version": "1", "sha256": hashlib.sha256(content).hexdigest(), "tile": 32, "overlap": 8}
    usual = {"4": [0.001, 0.02], "2": [0.001, 0.02]}
    path.with_suffix(".json").write_text(json.dumps({**card, "architecture": architecture, "usual_detail": usual}))
    generators, read = checkpoint.load(path)
    assert (read.scales, read.architecture.as_dict()["output"], read.usual_detail) == ((4,), "bicubic", {})
    assert same(generators[4], generator)
    assert "no result of the physics suite" in read.unproven


PROOF = {"suite": checkpoint.SUITE, **{f"x{scale}": {"rows": [{"test": "edge", "passed": True}]} for scale in (4, 2)}}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, ""),
        ({"suite": 0}, "another physics suite"),
        ({"sha256": "0" * 64}, "on other weights"),
        ({"x2": {"rows": [{"test": "bars", "passed": False}]}}, "misses limits of the physics suite: bars (x2)"),
        ({"x2": {}}, "no row (x2)"),
    ],
)
def test_only_the_suite_s_own_word_on_these_weights_is_proof(weights: Path, change: dict[str, Any], told: str) -> None:
    card = checkpoint.read_card(weights)
    assert told in replace(card, physics={**PROOF, "sha256": card.sha256, **change}).unproven
    assert bool(told) == bool(replace(card, physics={**PROOF, "sha256": card.sha256, **change}).unproven)


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
    with pytest.raises(CheckpointError, match="xr-lite"):
        checkpoint.find("nonsense")


def test_auto_is_the_full_generator_where_the_device_is_quick_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_backend, "has_matrix_units", lambda device: False)
    assert torch_backend.default_name("cpu", tmp_path) == "xr-lite"
    assert torch_backend.default_name("cuda", tmp_path) == "xr-lite"
    (tmp_path / "xr.safetensors").touch()
    assert torch_backend.default_name("cuda", tmp_path) == "xr"
    assert torch_backend.default_name("cpu", tmp_path) == "xr-lite"
    monkeypatch.setattr(torch_backend, "has_matrix_units", lambda device: True)
    assert torch_backend.default_name("cpu", tmp_path) == "xr"
