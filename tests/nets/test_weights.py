"""The shipped weights keep what the README and their card say."""

from __future__ import annotations

import numpy as np
from kit import shared

from model import checkpoint
from model.upscaler import Upscaler
from training import data, evaluate


def test_every_shipped_file_is_what_its_card_describes_and_small() -> None:
    names = checkpoint.available()
    assert "cxr-x4-lite" in names
    for name in names:
        _, card = checkpoint.load(checkpoint.find(name))
        assert card.name == name
        assert card.licence
        assert card.metrics, f"{name} has no measured numbers"
    assert checkpoint.find("cxr-x4-lite").stat().st_size < 1_000_000


def test_lite_is_far_above_bicubic_on_patients_it_never_saw(upscaler: Upscaler) -> None:
    percent = upscaler.card.training["data"]["validation_percent"]
    paths = [
        path
        for path in data.find_images(shared("xray", "images"))
        if data.is_validation(data.patient_of(path), percent)
    ]
    images = [evaluate.reference(path, "seed", 4) for path in paths[::2]]
    methods = {"bicubic": evaluate.by_resampling("bicubic"), "ours": evaluate.by_upscaler(upscaler)}
    gains = [row["ours"]["psnr"] - row["bicubic"]["psnr"] for row in evaluate.measure(images, methods, 4)]
    assert len(gains) > 30
    assert np.mean(gains) > 1.9
    assert np.mean(np.array(gains) > 0) >= 0.99
