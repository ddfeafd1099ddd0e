"""Several processes train what one would have trained."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.tools import ROOT
from support.training import ADVERSARIAL, set_all, state, train

from training.run import Run

SETTINGS = (
    "generator.batch_norm=false",
    "threads=1",
    "adversarial.learning_rate=1e-6",  # Adam gives the noise of a gradient of almost zero the size of a step
    *(s for s in ADVERSARIAL if ".batch=" not in s),
)


def test_two_processes_are_one_with_the_doubled_batch(config_file: Path, tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    settings = set_all([*SETTINGS, "name=two", "content.batch=2", "adversarial.batch=2"])
    subprocess.run(
        [*torchrun, "-m", "training.fit", str(config_file), *settings],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        timeout=240,
    )
    (folder,) = (tmp_path / "runs").glob("two-*")
    two = Run.open(folder)
    one = train(config_file, *SETTINGS, "name=one", "content.batch=4", "adversarial.batch=4")
    pairs = [(a["losses"], b["losses"]) for a, b in zip(one.lines(), two.lines(), strict=True) if "losses" in a]
    assert len(pairs) == 10
    for alone, together in pairs[:6]:
        assert together == pytest.approx(alone, rel=1e-5)
    for alone, together in pairs[6:]:
        del alone["slope"], together["slope"]  # measured on the first process's batch
        assert together == pytest.approx(alone, rel=1e-4, abs=5e-5)
    for name, weight in state(one)["generator"].items():
        assert torch.allclose(weight, state(two)["generator"][name], atol=1e-4), name
