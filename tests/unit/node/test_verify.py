"""`srnode verify` passes what the node makes and fails what was altered by one unit."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset
from support.command import srnode
from support.images import image, save, upscale

from dicom_sr_node.derive import label
from dicom_sr_node.pixels.sandbox import DecoderProcess
from dicom_sr_node.verify.verification import verify
from model.upscaler import Upscaler


@pytest.fixture
def pair(tmp_path: Path, reader: DecoderProcess, upscaler: Upscaler) -> tuple[Path, Path]:
    ds = image(128)
    ds.PixelSpacing = ["0.143", "0.143"]
    source = save(ds, tmp_path / "source.dcm")
    derived = tmp_path / "derived.dcm"
    upscale(source, derived, reader, upscaler, label="burned")
    return derived, source


Failed = Callable[[Path, Path], list[str]]


@pytest.fixture
def failed(reader: DecoderProcess) -> Failed:
    """The names of the checks that a pair of files fails."""
    return lambda derived, source: [check.name for check in verify(derived, source, reader) if not check.passed]


def test_what_the_node_makes_passes(pair: tuple[Path, Path], failed: Failed) -> None:
    assert failed(*pair) == []


def pixel(row: int, column: int, by: int = 1) -> Callable[[FileDataset], None]:
    def change(ds: FileDataset) -> None:
        values = np.frombuffer(ds.PixelData, "<u2").reshape(ds.Rows, ds.Columns).copy()
        values[row, column] = values[row, column] + by if values[row, column] < 4095 else values[row, column] - by
        ds.PixelData = values.tobytes()

    return change


def element(keyword: str, value: object) -> Callable[[FileDataset], None]:
    return lambda ds: setattr(ds, keyword, value)


def in_source_image(keyword: str, value: str) -> Callable[[FileDataset], None]:
    return lambda ds: setattr(ds.SourceImageSequence[0], keyword, value)


ALTERATIONS = {
    "a pixel": (pixel(200, 200), "block means"),
    "the first pixel": (pixel(0, 0), "block means"),
    "the last pixel": (pixel(511, 511), "block means"),
    "a pixel of the label": (pixel(508, 3), "label"),
    "a spacing": (element("PixelSpacing", ["0.03575", "0.03576"]), "extent"),
    "the detector's spacing": (element("ImagerPixelSpacing", ["0.78126", "0.78125"]), "extent"),
    "a missing spacing": (lambda ds: delattr(ds, "PixelSpacing"), "extent"),
    "the referenced image": (in_source_image("ReferencedSOPInstanceUID", "1.2.3"), "source image"),
    "the referenced class": (in_source_image("ReferencedSOPClassUID", "1.2.840.10008.5.1.4.1.1.1"), "source image"),
    "the referenced series": (
        lambda ds: setattr(ds.ReferencedSeriesSequence[0], "SeriesInstanceUID", "1.2.3"),
        "source series",
    ),
    "no references": (lambda ds: delattr(ds, "SourceImageSequence"), "source image"),
    "the window": (element("WindowCenter", "2049"), "window"),
    "the lossy history": (element("LossyImageCompression", "01"), "lossy history"),
    "the photometric interpretation": (element("PhotometricInterpretation", "MONOCHROME1"), "grey scale"),
    "the orientation": (element("PatientOrientation", ["R", "F"]), "all else"),
    "the laterality": (element("ImageLaterality", "R"), "all else"),
    "something added": (element("PixelAspectRatio", ["2", "1"]), "all else"),
    "something lost": (lambda ds: delattr(ds, "ViewPosition"), "all else"),
    "the instance": (element("SOPInstanceUID", "1.2.3"), "instance UID"),
    "the derivation": (lambda ds: delattr(ds, "DerivationCodeSequence"), "derivation"),
    "an overlay": (lambda ds: label.overlay(ds, 4, (512, 512)), "extent"),
    "the patient": (element("PatientID", "OTHER"), "patient and study"),
    "the study": (element("StudyInstanceUID", "1.2.3"), "patient and study"),
    "the series": (element("SeriesInstanceUID", "1.2.3"), "series"),
    "the qualification": (element("ContentQualification", "PRODUCT"), "qualification"),
    "the synthetic flag": (element("SyntheticData", "NO"), "synthetic data"),
    "the image type": (element("ImageType", ["ORIGINAL", "PRIMARY"]), "image type"),
    "the weights": (element("DeviceUID", "1.2.3"), "weights"),
    "the comment": (element("ImageComments", ""), "image comments"),
}


@pytest.mark.parametrize(("change", "check"), ALTERATIONS.values(), ids=ALTERATIONS.keys())
def test_what_was_altered_fails(
    pair: tuple[Path, Path], failed: Failed, change: Callable[[FileDataset], None], check: str
) -> None:
    derived, source = pair
    ds = dcmread(derived)
    change(ds)
    assert check in failed(save(ds, derived), source)


def test_another_source_fails(pair: tuple[Path, Path], failed: Failed, tmp_path: Path) -> None:
    other = save(image(128, seed=9), tmp_path / "other.dcm")
    assert "block means" in failed(pair[0], other)
    assert "size" in failed(pair[0], save(image(64), tmp_path / "small.dcm"))


def test_a_file_that_the_node_did_not_make_fails(pair: tuple[Path, Path], failed: Failed) -> None:
    assert failed(pair[1], pair[1]) == ["provenance"]


def test_a_source_that_is_no_image_is_told(pair: tuple[Path, Path]) -> None:
    derived, source = pair
    ds = dcmread(source)
    del ds.Rows
    done = srnode("verify", derived, save(ds, source), check=False)
    assert done.returncode == 1
    assert "cannot be used" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_tells_pass_and_fail_by_its_exit_code(pair: tuple[Path, Path], tmp_path: Path) -> None:
    derived, source = pair
    done = srnode("verify", derived, source)
    assert done.stdout.splitlines()[-1].split() == ["verify", "PASS"]
    for path in (derived, source):
        assert hashlib.sha256(path.read_bytes()).hexdigest() in done.stdout
        assert str(dcmread(path).SOPInstanceUID) in done.stdout
    ds = dcmread(derived)
    pixel(200, 200)(ds)
    done = srnode("verify", save(ds, tmp_path / "bad.dcm"), source, check=False)
    assert done.returncode == 1
    assert re.search(r"block means +FAIL  1 of 16384 blocks differ", done.stdout)
    assert "source row 51, column 51" in done.stdout
    done = srnode("verify", derived, tmp_path / "none.dcm", check=False)
    assert done.returncode == 1
    assert "none.dcm" in done.stderr
    assert "Traceback" not in done.stderr
