"""The usual range of added detail: measured, written into the card, and read by the node's quality gate."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dicom_sr_node import phantom
from model import checkpoint, detail
from model.upscaler import Upscaler
from training import usual


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for seed in range(3):
        Image.fromarray((phantom.draw(300, seed=seed) >> 4).astype(np.uint8)).save(folder / f"patient{seed}.png")
    return folder


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A copy of shipped weights whose card knows no range."""
    shipped = checkpoint.find("cxr-x4-lite")
    copy = tmp_path / "mine.safetensors"
    shutil.copy(shipped, copy)
    card = json.loads(shipped.with_suffix(".json").read_text())
    del card["usual_detail"]
    copy.with_suffix(".json").write_text(json.dumps(card))
    return copy


def test_the_range_goes_into_the_card_and_the_rest_of_it_stays(weights: Path, images: Path) -> None:
    before = checkpoint.read_card(weights)
    assert before.usual_detail == {}
    assert usual.main([str(weights), "--data", str(images), "--held-out", "0", "--device", "cpu"]) == 0
    after = checkpoint.read_card(weights)
    assert {name: value for name, value in vars(after).items() if name != "usual_detail"} == {
        name: value for name, value in vars(before).items() if name != "usual_detail"
    }
    assert set(after.usual_detail) == {"2", "4"}
    for low, high in after.usual_detail.values():
        assert 0 < low < high < 0.1


def test_it_is_the_range_of_what_is_added(weights: Path, images: Path) -> None:
    upscaler = Upscaler.load(str(weights), "cpu")
    paths = sorted(images.iterdir())
    found = usual.measure(upscaler, paths)
    shares = []
    for path in paths:
        whole = np.asarray(Image.open(path))
        shares.append(detail.added(upscaler.upscale(whole, 4), whole).share)
    assert found["4"][0] <= min(shares) + 1e-6
    assert found["4"][1] >= max(shares) - 1e-6


def test_mistakes_are_told(weights: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert usual.main(["nonsense", "--data", str(images), "--held-out", "0"]) == 1
    assert "no weights 'nonsense'" in capsys.readouterr().err
    assert usual.main([str(weights), "--data", str(images / "none")]) == 1
    assert "usual:" in capsys.readouterr().err


def test_every_shipped_card_knows_its_range() -> None:
    for name in checkpoint.available():
        card = checkpoint.read_card(checkpoint.find(name))
        assert set(card.usual_detail) == {"2", "4"}, name
        for low, high in card.usual_detail.values():
            assert 0.001 < low < high < 0.05
