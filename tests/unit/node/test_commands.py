"""The commands as their user meets them: help, exit codes, JSON, and one bad file among good ones."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from support.archive import Archive
from support.command import srnode
from support.images import image, save
from support.node import Node
from support.tools import ENVIRONMENT, shared

from dicom_sr_node import cli
from dicom_sr_node.commands import config as config_commands
from dicom_sr_node.commands.lazy import Lazy
from dicom_sr_node.commands.lazy import load as load_command
from dicom_sr_node.pixels.sandbox import DecoderProcess
from dicom_sr_node.verify.verification import verify
from model import torch_backend
from model.consistency import block_sums

COMMANDS = [
    "serve",
    "receive",
    "work",
    "deliver",
    "demo",
    "upscale",
    "verify",
    "status",
    "conformance",
    "echo",
    "send",
    "jobs,ls",
    "jobs,show",
    "jobs,retry",
    "jobs,cancel",
    "config,check",
    "config,show",
    "models,ls",
    "models,verify",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    done = srnode(*command.split(","), "--help")
    assert "Usage:" in done.stdout


def test_a_wrong_option_is_usage() -> None:
    assert srnode("status", "--nonsense", check=False).returncode == 2
    assert srnode("nonsense", check=False).returncode == 2


@pytest.mark.parametrize("command", [["jobs", "ls"], ["echo", "X"], ["send", "X", "y"], ["config", "show"], ["status"]])
def test_light_commands_start_without_torch(command: list[str], tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['srnode', *sys.argv[1:]]\n"
        "from dicom_sr_node.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr


def test_the_state_of_a_node_that_never_ran_is_one_clear_message(tmp_path: Path) -> None:
    config = tmp_path / "node.toml"
    config.write_text(f'[node]\ndata_dir = "{tmp_path / "var"}"\n')
    done = srnode("status", "-c", config, check=False)
    assert done.returncode == 1
    assert "no database at" in done.stderr
    assert not (tmp_path / "var").exists()


def test_config_show_tells_the_effective_values(tmp_path: Path) -> None:
    config = tmp_path / "node.toml"
    config.write_text("[scp]\nport = 11199\n")
    assert json.loads(srnode("config", "show", "--json", "-c", config).stdout)["scp"]["port"] == 11199
    assert "11199" in srnode("-c", config, "config", "show").stdout


def test_models_are_listed_and_verified() -> None:
    rows = json.loads(srnode("models", "ls", "--json").stdout)
    assert [row["name"] for row in rows if row["auto"]] == [torch_backend.default_name("auto")]
    assert "PASS  xr-lite" in srnode("models", "verify").stdout
    done = srnode("models", "verify", "nonsense", check=False)
    assert done.returncode == 1
    assert "FAIL  nonsense" in done.stdout


def test_echo_and_send(tmp_path: Path, archive: Archive) -> None:
    config = tmp_path / "node.toml"
    config.write_text(f'[peers.PACS]\nae_title = "ARCHIVE"\nhost = "127.0.0.1"\nport = {archive.port}\n')
    assert "answered" in srnode("echo", "PACS", "-c", config).stdout
    good, bad = save(image(), tmp_path / "good.dcm"), tmp_path / "bad.dcm"
    bad.write_bytes(b"nothing")
    done = srnode("send", "PACS", good, bad, "-c", config, check=False)
    assert done.returncode == 1
    assert "1 sent, 1 not" in done.stdout
    assert archive.uids == [image().SOPInstanceUID]
    archive.stop()
    done = srnode("echo", "PACS", "-c", config, check=False)
    assert done.returncode == 1
    assert "does not answer" in done.stderr
    done = srnode("echo", "NOBODY", "-c", config, check=False)
    assert done.returncode == 1
    assert "known peers: PACS" in done.stderr


def write_png(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_pictures_become_gray_png_of_the_same_depth_with_the_original_inside(
    tmp_path: Path, dtype: type, suffix: str
) -> None:
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (40, 30), dtype=dtype)
    source = write_png(tmp_path / f"in{suffix}", values)
    srnode("upscale", source, "-o", tmp_path / "out")
    with Image.open(tmp_path / "out" / "in.png") as result:
        assert "detail is estimated" in result.text["Description"]  # type: ignore[attr-defined]
        high: NDArray[Any] = np.asarray(result).astype(dtype)
    assert high.shape == (160, 120)
    assert np.array_equal(block_sums(high, 4), values.astype(np.int64) * 16)
    ours = tmp_path / "by_hand"
    ours.touch()  # with the modes that this user's umask leaves
    assert (tmp_path / "out" / "in.png").stat().st_mode == ours.stat().st_mode


def test_colour_jpeg_becomes_gray_png(tmp_path: Path) -> None:
    source = tmp_path / "in.jpeg"
    Image.fromarray(np.full((20, 20, 3), (200, 30, 40), np.uint8)).save(source)
    srnode("upscale", source, "-o", tmp_path / "named.png", "--scale", "2")
    with Image.open(tmp_path / "named.png") as result:
        assert (result.mode, result.size) == ("L", (40, 40))


def test_a_folder_is_done_whole_and_one_bad_file_does_not_stop_the_others(
    tmp_path: Path, reader: DecoderProcess
) -> None:
    folder = tmp_path / "in"
    write_png(folder / "a.png", np.zeros((20, 20), np.uint8))
    write_png(folder / "deep" / "b.png", np.zeros((20, 20), np.uint8))
    (folder / "bad.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("no picture either")
    dicom = save(image(), folder / "c.dcm")
    done = srnode("upscale", folder, tmp_path / "missing.png", "-o", tmp_path / "out", "--json", check=False)
    assert done.returncode == 1
    rows = {Path(row["source"]).name: row for row in json.loads(done.stdout)}
    assert rows["bad.png"]["reason"].startswith("not a readable picture")
    assert rows["notes.txt"]["reason"].startswith("not a readable DICOM file")
    assert rows["missing.png"]["reason"] == "there is no such file"
    made = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert made == {"a.png", "deep/b.png", "c.dcm"}
    assert all(check.passed for check in verify(tmp_path / "out" / "c.dcm", dicom, reader))


def test_results_of_the_same_name_stand_side_by_side(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for name in ("g.png", "g.tif"):
        write_png(folder / name, np.zeros((20, 20), np.uint8))
    for number in (1, 2):
        save(image(number=number), folder / f"1.2.3.{number}")
    srnode("upscale", folder, "-o", tmp_path / "out")
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made == {"g.png", "g.tif.png", "1.2.3.1.dcm", "1.2.3.2.dcm"}
    twice = [write_png(tmp_path / place / "same.png", np.zeros((20, 20), np.uint8)) for place in ("a", "b", "c")]
    done = srnode("upscale", *twice, "-o", tmp_path / "flat", check=False)
    assert done.returncode == 1
    assert "would replace the result of another file" in done.stderr


def test_a_result_file_of_the_wrong_kind_is_refused(tmp_path: Path) -> None:
    done = srnode("upscale", save(image(), tmp_path / "a.dcm"), "-o", tmp_path / "x.png", check=False)
    assert done.returncode == 1
    assert "the result is a .dcm file" in done.stderr
    assert not (tmp_path / "x.png").exists()


def test_a_dicom_file_without_a_modality_is_done(tmp_path: Path) -> None:
    ds = image(modality="CR")
    del ds.Modality
    source = save(ds, tmp_path / "a.dcm")
    srnode("upscale", source, "-o", tmp_path / "out")
    assert dcmread(tmp_path / "out" / "a.dcm").Modality == "CR"


def test_the_same_dicom_file_gives_the_same_uids_and_pixels(tmp_path: Path) -> None:
    source = save(image(), tmp_path / "in.dcm")
    for name in ("one", "two"):
        srnode("upscale", source, "-o", tmp_path / name)
    one, two = (dcmread(tmp_path / name / "in.dcm") for name in ("one", "two"))
    assert one.SOPInstanceUID == two.SOPInstanceUID
    assert one.SeriesInstanceUID == two.SeriesInstanceUID
    assert one.PixelData == two.PixelData


def test_the_source_is_never_overwritten(tmp_path: Path) -> None:
    source = write_png(tmp_path / "a.png", np.zeros((20, 20), np.uint8))
    before = source.read_bytes()
    done = srnode("upscale", source, "-o", tmp_path, check=False)
    assert done.returncode == 1
    assert "would replace the file itself" in done.stderr
    assert source.read_bytes() == before


def test_what_cannot_be_is_refused_with_the_reason(tmp_path: Path) -> None:
    source = write_png(tmp_path / "a.png", np.zeros((20, 20), np.uint8))
    for options, told in (
        (["--model", "nonsense"], "known names: xr, xr-gan, xr-lite"),
        (["--label", "overlay"], "no overlay planes"),
    ):
        done = srnode("upscale", source, "-o", tmp_path / "out", *options, check=False)
        assert done.returncode == 1
        assert told in done.stderr
    assert srnode("upscale", source, "-o", tmp_path / "out", "--scale", "3", check=False).returncode == 2


def test_a_real_radiograph_that_no_decoder_takes_is_told(tmp_path: Path) -> None:
    done = srnode("upscale", shared("dicom", "broken-j2k-codestream.dcm"), "-o", tmp_path, check=False)
    assert done.returncode == 1
    assert "the pixel data cannot be decoded" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("srnode mod", {"models"}),
        ("srnode models acti", {"activate"}),
        ("srnode -c {config} models activate x", {"xr", "xr-gan", "xr-lite"}),
        ("srnode -c {config} echo A", {"ARCHIVE"}),
        ("srnode jobs ls --stat", {"--state"}),
        ("srnode jobs ls --state de", {"dead", "delivered"}),
        ("srnode -c {broken} echo A", set()),
    ],
)
def test_a_shell_completes_commands_options_peers_and_weights(tmp_path: Path, words: str, expected: set[str]) -> None:
    node, broken = Node.configure(tmp_path, peers={"ARCHIVE": 1}), tmp_path / "broken.toml"
    broken.write_text("[scp]\nprot = 1\n")
    line = words.format(config=node.config, broken=broken)
    asked = {"_SRNODE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    program = Path(sys.executable).parent / "srnode"
    done = subprocess.run([program], env=ENVIRONMENT | asked, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == expected


@pytest.mark.parametrize("table", [cli.COMMANDS, config_commands.COMMANDS], ids=["srnode", "srnode config"])
def test_the_list_of_commands_says_what_each_says_of_itself(table: dict[str, Lazy]) -> None:
    """And every command can be imported."""
    for name, command in table.items():
        own = " ".join((load_command(command).help or "").split())
        assert own.startswith(command.help.rstrip(".")), name
