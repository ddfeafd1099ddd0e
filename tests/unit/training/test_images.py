"""Which images are used, and how they are read."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from support.tools import shared
from support.training import make_images, read, state, train

from dicom_sr_node.tools import phantom
from training import images as pictures
from training.patients import patient_of

CHEST = "cr-fuji-chest-10bit-mono1.dcm"


def test_hidden_files_and_those_of_macos_are_no_images(config_file: Path, images: Path) -> None:
    before = pictures.find_images(images)
    for name in (
        ".cache/person9_virus_1.png",
        "__MACOSX/train/NORMAL/person9_virus_1.png",
        "NORMAL/._person1_virus_1.png",
    ):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        (images / name).write_bytes(b"not for us")
    assert pictures.find_images(images) == before
    assert len(before) == 12


def test_links_are_followed_but_into_no_folder_twice(images: Path, tmp_path: Path) -> None:
    make_images(tmp_path / "elsewhere", range(7, 8))
    (images / "link").symlink_to(tmp_path / "elsewhere")
    (images / "NORMAL" / "loop").symlink_to(images)
    assert len(pictures.find_images(images)) == 14


@pytest.mark.parametrize("cached", [False, True])
def test_a_name_that_is_no_text_and_a_pipe_are_no_end(config_file: Path, images: Path, cached: bool) -> None:
    with Image.open(next(images.rglob("*.png"))) as image:
        image.save(os.fsdecode(os.fsencode(images) + b"/caf\xe9.png"))
    os.mkfifo(images / "pipe")
    run = train(config_file, "data.validation_percent=50", *([f"data.cache={images.parent}/cache"] if cached else []))
    assert state(run)["step"] == 6
    assert not cached or len(list((images.parent / "cache").glob("*.json"))) == 13
    assert len(pictures.find_images(images)) == 13


def test_the_fingerprint_tells_a_change(config_file: Path, images: Path, tmp_path: Path) -> None:
    data = read(config_file).data
    loaded, _ = pictures.load(pictures.find_images(images), data)
    moved = [replace(image, path=tmp_path / "moved" / image.path.relative_to(images)) for image in loaded]
    known = pictures.fingerprint(loaded, images)
    assert pictures.fingerprint(moved, tmp_path / "moved") == known
    assert pictures.fingerprint(loaded[1:], images) != known
    assert pictures.fingerprint([replace(loaded[0], shape=(1, 1)), *loaded[1:]], images) != known


def test_a_damaged_cache_is_made_again(config_file: Path, images: Path, tmp_path: Path) -> None:
    data = read(config_file, f"data.cache={tmp_path / 'cache'}").data
    paths = pictures.find_images(images)
    before = pictures.load(paths, data)[0]
    told, native = (sorted((tmp_path / "cache").glob(name)) for name in ("*.json", "*.native.npy"))
    for number in range(12):
        told[number].write_bytes(b"") if number % 2 else native[number].unlink()
    after, skipped = pictures.load(paths, data)
    assert not skipped
    for one, other in zip(before, after, strict=True):
        assert np.array_equal(one.pixels, other.pixels)
        assert one.window == other.window


@pytest.mark.parametrize("cached", [False, True])
def test_an_unreadable_image_is_told_and_left_out(config_file: Path, images: Path, cached: bool) -> None:
    (images / "broken.png").write_bytes(b"no picture")
    (images / "broken.dcm").write_bytes(b"no dataset")
    data = read(config_file, *([f"data.cache={images.parent / 'cache'}"] if cached else [])).data
    for _ in range(2):
        loaded, skipped = pictures.load(pictures.find_images(images), data)
        assert len(loaded) == 12
        assert ["broken.dcm: skipped" in skipped[0], "broken.png: skipped" in skipped[1]] == [True, True]


def test_an_image_that_changes_is_decoded_again(config_file: Path, images: Path) -> None:
    data = read(config_file, f"data.cache={images.parent / 'cache'}").data
    path = pictures.find_images(images)[0]
    before = pictures.load([path], data)[0][0].pixels.copy()
    Image.fromarray(255 - before).save(path)
    assert (pictures.load([path], data)[0][0].pixels == 255 - before).all()


def test_too_small_an_image_is_told(config_file: Path, images: Path) -> None:
    Image.new("L", (31, 90)).save(images / "small.png")
    _, (line,) = pictures.load(pictures.find_images(images), read(config_file).data)
    assert "small.png: skipped, 31x90 is smaller than data.crop = 32" in line


def test_dicom_files_are_read_as_the_gray_that_is_seen(tmp_path: Path) -> None:
    """MONOCHROME1 is inverted, signed values are shifted; a file without suffix is known by its preamble."""
    source = shared("dicom", CHEST)
    dataset = pydicom.dcmread(source)
    peak = (1 << dataset.BitsStored) - 1
    stored = dataset.pixel_array
    plain = pictures.read_gray(source)
    seen = peak - stored if dataset.PhotometricInterpretation == "MONOCHROME1" else stored
    assert (plain.pixels == seen).all()
    assert plain.peak == peak
    other = {"MONOCHROME1": "MONOCHROME2", "MONOCHROME2": "MONOCHROME1"}
    dataset.PhotometricInterpretation = other[dataset.PhotometricInterpretation]
    dataset.PatientID = "p7"
    for name in ("1.2.840.113619.2.5", "NOSUFFIX"):
        dataset.save_as(tmp_path / name)
        assert (pictures.read_gray(tmp_path / name).pixels == peak - plain.pixels).all()
        assert patient_of(tmp_path / name, tmp_path) == "dicom-p7"
    assert len(pictures.find_images(tmp_path)) == 2


def test_a_run_on_16_bit_pictures(config_file: Path, tmp_path: Path) -> None:
    root = tmp_path / "deep"
    root.mkdir()
    for number in range(12):
        Image.fromarray(phantom.draw(80, seed=number).astype(np.uint16) << 4).save(root / f"deep{number}.png")
    run = train(config_file, f"data.root={root}", 'degrade=["bicubic","noise",{step="jpeg"},"quantise"]')
    measured = run.lines()[-1]
    assert 20 < measured["views"]["whole"]["bicubic"]["psnr"] < 60


def test_damaged_headers_are_told_and_left_out(config_file: Path, images: Path) -> None:
    content = shared("dicom", CHEST).read_bytes()
    for end in (141, 400, 2000):
        (images / f"cut{end}.dcm").write_bytes(content[:end])
    _, skipped = pictures.load(pictures.find_images(images), read(config_file).data)
    assert len(skipped) == 3


def test_32_bit_pictures_are_refused_not_ruined(tmp_path: Path) -> None:
    Image.fromarray(np.full((64, 64), 4095, np.float32)).save(tmp_path / "deep.tiff")
    with pytest.raises(ValueError, match="32 bits"):
        pictures.read_gray(tmp_path / "deep.tiff")


def test_multi_frame_and_colour_dicom_are_refused(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(shared("dicom", CHEST))
    dataset.NumberOfFrames = 2
    dataset.save_as(tmp_path / "frames.dcm")
    with pytest.raises(ValueError, match="not a single gray image"):
        pictures.read_gray(tmp_path / "frames.dcm")


def test_a_run_on_dicom_files(config_file: Path, tmp_path: Path) -> None:
    """The patient is the header's; what cannot be decoded is told and left out."""
    root = tmp_path / "dicom"
    root.mkdir()
    dataset = pydicom.dcmread(shared("dicom", CHEST))
    for number in range(12):
        dataset.PatientID = f"p{number}"
        dataset.save_as(root / f"IM{number}")
    (root / "broken.dcm").write_bytes(shared("dicom", "broken-j2k-codestream.dcm").read_bytes())
    run = train(config_file, f"data.root={root}")
    assert run.lines()[-1]["views"]["whole"]["bicubic"]["psnr"] > 20


@pytest.mark.parametrize("high_bit", [11, 15])
@pytest.mark.parametrize("inverted", [False, True])
def test_dicom_is_read_as_the_node_reads_it(tmp_path: Path, high_bit: int, inverted: bool) -> None:
    """Also where the twelve bits of a value lie at the upper end of its cell."""
    drawn = phantom.draw(64)
    ds = phantom.dicom(drawn, inverted=inverted)
    stored = ds.pixel_array
    ds.HighBit = high_bit
    ds.PixelData = (stored.astype(np.uint16) << (high_bit - 11)).tobytes()
    ds.save_as(tmp_path / "x.dcm", enforce_file_format=True)
    gray = pictures.read_gray(tmp_path / "x.dcm")
    assert gray.peak == 4095
    assert np.array_equal(gray.pixels, drawn)
