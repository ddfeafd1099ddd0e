"""Timings, side by side in one run; never part of the tests. `make bench` prints them."""

from __future__ import annotations

import copy
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless
from rich.console import Console
from support.images import image, save, set_pixels
from support.node import Node
from support.tools import ENVIRONMENT, free_port, need, run, wait_until

from dicom_sr_node.tools import phantom
from model.generator import Generator, GeneratorConfig
from model.upscaler import Upscaler

console = Console()
ROUNDS = 5


def seconds(work: Callable[[], object], rounds: int = ROUNDS) -> list[float]:
    work()  # warm
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return taken


def told(taken: list[float]) -> str:
    return f"median {statistics.median(taken):.3f} s (min {min(taken):.3f}, max {max(taken):.3f})"


@pytest.mark.parametrize("size", [256, 512, 1024])
def test_upscaling_by_four_on_the_cpu(size: int) -> None:
    upscaler = Upscaler.load("xr-lite", "cpu")
    source = phantom.draw(size)
    taken = seconds(lambda: upscaler.upscale(source, 4, value_range=(0, 4095)), rounds=3)
    console.print(
        f"{upscaler.card.name} {size}x{size} to {4 * size}x{4 * size}, {torch.get_num_threads()} threads: {told(taken)}"
    )


def test_attention_costs_less_than_the_convolutions() -> None:
    low = torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        whole = Generator(GeneratorConfig()).eval()
        bare = Generator(GeneratorConfig(attention=False)).eval()
        pairs = [(seconds(lambda: whole(low), 1)[0], seconds(lambda: bare(low), 1)[0]) for _ in range(ROUNDS)]
    share = statistics.median(1 - without / with_it for with_it, without in pairs)
    console.print(f"self-attention: {share:.0%} of the seed generator's forward pass on a 64x64 tile")


def test_receiving_beside_dcmtk(tmp_path: Path) -> None:
    """20 images of 10 MB by one storescu: this node (synced and committed) and dcmtk's storescp (not synced)."""
    sources = []
    for number in range(20):
        ds = image(64, number=number + 1)
        ds.Rows, ds.Columns = 2048, 2500
        ds.PixelData = np.zeros(2048 * 2500, "<u2").tobytes()
        sources.append(save(ds, tmp_path / f"{number}.dcm"))
    version = run(need("storescp", "dcmtk"), "--version").stdout.splitlines()[0]
    ratios = []
    for round_number in range(3):
        node = Node.configure(_folder(tmp_path / f"node{round_number}"))
        node.start("receive")
        ours = _send(node.settings.scp.port, sources)
        node.stop()
        theirs = _storescp(_folder(tmp_path / f"dcmtk{round_number}"), sources)
        ratios.append(theirs / ours)
        console.print(f"200 MB received in {ours:.2f} s, dcmtk storescp {theirs:.2f} s")
    console.print(f"speed relative to {version.strip('$ ')}: median {statistics.median(ratios):.2f}")


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _storescp(folder: Path, sources: list[Path]) -> float:
    port = free_port()
    process = subprocess.Popen([need("storescp", "dcmtk"), "-od", str(folder), str(port)], env=ENVIRONMENT)
    try:
        echo = (need("echoscu", "dcmtk"), "127.0.0.1", str(port))
        wait_until(lambda: run(*echo, check=False).returncode == 0, 10, "storescp's start")
        return _send(port, sources)
    finally:
        process.terminate()
        process.wait()


def _send(port: int, sources: list[Path]) -> float:
    started = time.perf_counter()
    run(need("storescu", "dcmtk"), "-R", "-aec", "SRNODE", "127.0.0.1", str(port), *sources)
    return time.perf_counter() - started


def test_lossless_codecs_side_by_side() -> None:
    """Size and time of the codecs a derived image could be sent in: why `derive.encoding` takes JPEG-LS."""
    ds = image(512)
    set_pixels(ds, Upscaler.load("xr-lite", "cpu").upscale(phantom.draw(512), 4, value_range=(0, 4095)))
    plugins = {JPEGLSLossless: "pyjpegls", JPEG2000Lossless: "pylibjpeg"}
    plain, megapixels = len(ds.PixelData), ds.Rows * ds.Columns / 1e6
    for syntax, plugin in plugins.items():
        packed = copy.deepcopy(ds)
        packed.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
        encoded = seconds(
            lambda syntax=syntax, plugin=plugin: copy.deepcopy(ds).compress(  # type: ignore[misc]
                syntax, encoding_plugin=plugin, generate_instance_uid=False
            ),
            rounds=3,
        )
        decoder = get_decoder(syntax)
        decoded = seconds(
            lambda packed=packed, plugin=plugin, decoder=decoder: decoder.as_array(packed, decoding_plugin=plugin),  # type: ignore[misc]
            rounds=3,
        )
        write, read = (statistics.median(taken) / megapixels for taken in (encoded, decoded))
        smaller = plain / len(packed.PixelData)
        console.print(f"{syntax.name}: {smaller:.2f} times smaller, {write:.3f} s/MP to write, {read:.3f} s/MP to read")
