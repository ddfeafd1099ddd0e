"""`srnode ...` as its user types it, in a process of its own that is forked from one that has imported everything.

To import the libraries takes longer than most commands, and the tests run hundreds. That a command starts from nothing,
and that a light one does so without torch, is tested in `unit/node/test_commands.py` and by every node that starts.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from pkgutil import iter_modules

from support.tools import ENVIRONMENT, ended_well

from dicom_sr_node import commands

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload([f"{commands.__name__}.{module.name}" for module in iter_modules(commands.__path__)])
_LIMIT_S = 240


def srnode(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command to its end with its output captured."""
    typed = ["srnode", *map(str, arguments)]
    with tempfile.TemporaryDirectory() as folder:
        outputs = [str(Path(folder) / name) for name in ("stdout", "stderr")]
        process = _SERVER.Process(target=_command, args=(typed, Path.cwd(), ENVIRONMENT, outputs))
        process.start()
        process.join(_LIMIT_S)
        if process.exitcode is None:
            process.kill()
        stdout, stderr = (Path(output).read_text(errors="replace") for output in outputs)
    assert process.exitcode is not None, f"{typed} did not end within {_LIMIT_S} s:\n{stdout}\n{stderr}"
    return ended_well(subprocess.CompletedProcess(typed, process.exitcode, stdout, stderr), check)


def _command(typed: list[str], folder: Path, environment: Mapping[str, str], outputs: list[str]) -> None:
    from dicom_sr_node.cli import main

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for stream, output in zip((sys.stdout, sys.stderr), outputs, strict=True):
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT), stream.fileno())
    sys.argv = typed
    main()
