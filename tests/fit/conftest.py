"""A tiny experiment, ready to run."""

from __future__ import annotations

from pathlib import Path

import pytest
from fitkit import CONFIG, make_images


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Twelve phantoms of six patients."""
    make_images(tmp_path / "images" / "NORMAL")
    return tmp_path / "images"


@pytest.fixture
def config_file(tmp_path: Path, images: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(CONFIG.format(root=images, runs=tmp_path / "runs"))
    return path
