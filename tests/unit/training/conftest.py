"""A tiny experiment, ready to run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.training import CONFIG, make_images


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve phantoms of six patients; drawing them takes longer than most tests."""
    folder = tmp_path_factory.mktemp("drawn")
    make_images(folder / "NORMAL")
    return folder


@pytest.fixture
def images(tmp_path: Path, drawn: Path) -> Path:
    """The same, to spoil."""
    return Path(shutil.copytree(drawn, tmp_path / "images"))


@pytest.fixture
def config_file(tmp_path: Path, images: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(CONFIG.format(root=images, runs=tmp_path / "runs"))
    return path
