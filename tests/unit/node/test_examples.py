"""The examples do what they say."""

from __future__ import annotations

import sys
from pathlib import Path

from support.images import image, save
from support.tools import ROOT, run

EXAMPLES = ROOT / "examples"


def test_every_example_is_run_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {"upscale_array", "derive_and_verify", "rule_tester"}


def test_an_array_is_upscaled() -> None:
    done = run(sys.executable, EXAMPLES / "upscale_array.py")
    assert "128x128 -> 512x512 by xr-lite" in done.stdout
    assert "averages to its source pixel: True" in done.stdout


def test_a_file_is_derived_and_verified(tmp_path: Path) -> None:
    source = save(image(64), tmp_path / "source.dcm")
    done = run(sys.executable, EXAMPLES / "derive_and_verify.py", source, tmp_path / "derived.dcm")
    assert "PASS  block means" in done.stdout
    assert "FAIL" not in done.stdout


def test_the_rules_say_who_takes_a_file(tmp_path: Path) -> None:
    config = tmp_path / "node.toml"
    config.write_text('[[rules]]\nname = "cr"\nmatch.modality = ["CR"]\n[[rules]]\nname = "all"\n')
    done = run(sys.executable, EXAMPLES / "rule_tester.py", config, save(image(32), tmp_path / "dx.dcm"))
    assert done.stdout.splitlines() == ["cr: modality is DX, not CR", "all: takes it"]
