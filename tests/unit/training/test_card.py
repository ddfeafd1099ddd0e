"""Cards hold what was measured, of the weights beside them, by one command; documents are made from the cards."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.tools import ROOT

from dicom_sr_node.tools import phantom
from model import checkpoint, detail
from model.upscaler import Upscaler
from training import card, detail_range, pages


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for seed in range(3):
        Image.fromarray((phantom.draw(200, seed=seed) >> 4).astype(np.uint8)).save(folder / f"patient{seed}.png")
    return folder


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A copy of shipped weights whose card knows nothing."""
    shipped = checkpoint.find("xr-lite")
    copy = tmp_path / "mine.safetensors"
    shutil.copy(shipped, copy)
    content = json.loads(shipped.with_suffix(".json").read_text())
    for measured in ("usual_detail", "metrics", "physics"):
        del content[measured]
    copy.with_suffix(".json").write_text(json.dumps(content))
    return copy


def test_one_command_measures_everything(weights: Path, images: Path) -> None:
    before = checkpoint.read_card(weights)
    assert (before.metrics, before.physics, before.usual_detail) == ({}, {}, {})
    assert card.main([str(weights), "--data", str(images), "--held-out", "0", "--native"]) == 0
    after = checkpoint.read_card(weights)
    tables = after.metrics["tables"]
    assert {(t["protocol"], t["scale"], t["variant"]) for t in tables} == {
        (p, s, v)
        for p in ("whole", "fit", "native")
        for s in (4, 2)
        for v in ("as it is", "turned", "mirrored", "noisy")
    }
    for table in tables:
        every = table["variant"] == "as it is" and table["low"] == "area"
        assert table["images"] == (3 if every else 1)
        assert set(table["differences"]["xr-lite"]) == set(table["methods"]) - {"xr-lite"}
        assert table["methods"]["xr-lite"]["consistency_error"] == 0
    assert after.physics["sha256"] == after.sha256
    assert after.unproven == ""
    kept = {"metrics", "physics", "usual_detail"}
    assert {k: v for k, v in vars(after).items() if k not in kept} == {
        k: v for k, v in vars(before).items() if k not in kept
    }
    for levels in after.usual_detail.values():
        assert [level for level, *_ in levels] == sorted(level for level, *_ in levels)
        assert all(0 <= least <= greatest < 0.2 for _, least, greatest in levels)


def test_the_usual_range_is_that_of_what_is_added_at_its_noise(weights: Path, images: Path) -> None:
    upscaler, paths = Upscaler.load(str(weights), "cpu"), sorted(images.iterdir())
    found = detail_range.measure(upscaler, paths)
    for path in paths:
        edge = (200 - detail_range.CROP) // 2
        whole = np.asarray(Image.open(path)).astype(np.uint16)[edge:-edge, edge:-edge] * detail_range.DEPTH
        for scale in (2, 4):
            added = detail.added(upscaler.upscale(whole, scale), whole)
            least, greatest = next((a, b) for level, a, b in found[str(scale)] if added.noise_share <= level)
            assert least - 1e-6 <= added.share <= greatest + 1e-6


def test_noise_is_estimated_in_stored_values_whatever_lies_beneath() -> None:
    source = phantom.draw(256, seed=4).astype(float) / 2 + 800
    everywhere = np.ones(source.shape, np.bool_)
    quiet = detail.noise(source, everywhere)
    for deviation in (20, 80):
        noisy = source + np.random.default_rng(0).normal(0, deviation, source.shape)
        assert detail.noise(noisy, everywhere) == pytest.approx(np.hypot(deviation, quiet), rel=0.1)


def test_mistakes_are_told(weights: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert card.main(["nonsense", "--data", str(images), "--held-out", "0"]) == 1
    assert "no weights 'nonsense'" in capsys.readouterr().err
    assert card.main([str(weights), "--data", str(images / "none")]) == 1
    assert "card: --data" in capsys.readouterr().err


def test_every_document_is_made_from_the_cards() -> None:
    """`make pages` would change nothing: no figure is told that no card holds."""
    for path, text in pages.texts().items():
        assert (ROOT / path).read_text(encoding="utf-8") == text, f"{path}: run `make pages`"


def test_a_figure_that_is_changed_by_hand_is_found() -> None:
    readme = pages.texts()[Path("README.md")]
    assert "| xr |" in readme
    assert pages.filled(readme.replace("| xr |", "| xr, improved |", 1)) == readme
