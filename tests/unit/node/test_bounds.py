"""A header beyond reason ends before it costs, and no reason ever quotes the data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset
from support.images import image, process, put, save, with_overlay
from support.tools import SHARED

from dicom_sr_node.config.working import ModelSettings
from dicom_sr_node.dicom import damage, header
from dicom_sr_node.domain.errors import Skipped, Undecodable, Unreadable
from dicom_sr_node.domain.records import Origin
from dicom_sr_node.pixels import limits
from dicom_sr_node.pixels.sandbox import DecoderProcess
from dicom_sr_node.rules import plan
from dicom_sr_node.rules.plan import PlanRequest
from model.upscaler import Upscaler

QUOTED = "SECRET^PATIENT"
ADMISSION = PlanRequest((), ModelSettings(), "none", {"": (4, 2)})


def deep(levels: int) -> list[Dataset]:
    item = Dataset()
    item.CodeValue = "T"
    for _ in range(levels):
        outer = Dataset()
        outer.ProcedureCodeSequence = [item]
        item = outer
    return [item]


def lut(size: int) -> list[Dataset]:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [256, 0, 12])
    item.add_new("LUTData", "OW", b"\0" * size)
    return [item]


BEYOND: dict[str, tuple[Callable[[FileDataset], Any], str]] = {
    "nested": (lambda ds: setattr(ds, "ProcedureCodeSequence", deep(40)), "sequences 17 deep"),
    "many items": (
        lambda ds: setattr(ds, "ProcedureCodeSequence", [Dataset() for _ in range(30_000)]),
        "more than 20000 elements",
    ),
    "many values": (
        lambda ds: put(ds, "VerticesOfThePolygonalShutter", "IS", ["1"] * 20_000),
        "more than 10000 values",
    ),
    "a huge table": (lambda ds: setattr(ds, "VOILUTSequence", lut(16 << 20)), "167772.. bytes"),
    "a huge text": (lambda ds: put(ds, "PatientComments", "UT", "x" * (2 << 20)), "2097152 bytes"),
}


@pytest.mark.parametrize(("change", "told"), BEYOND.values(), ids=BEYOND)
def test_a_header_beyond_reason_ends_before_it_costs(
    tmp_path: Path, reader: DecoderProcess, change: Callable[[FileDataset], Any], told: str
) -> None:
    ds = image()
    change(ds)
    with pytest.raises(Unreadable, match=f"the header is beyond reason: .*{told}"):
        reader.ask(plan.make, save(ds, tmp_path / "beyond.dcm"), ADMISSION, Origin())


def test_real_headers_are_far_within(tmp_path: Path) -> None:
    paths = [*sorted((SHARED / "dicom").glob("*.dcm")), save(image(), tmp_path / "phantom.dcm")]
    for path in paths:
        ds = dcmread(path)
        limits.check(ds)
        assert sum(1 for _ in ds.iterall()) < limits.MOST_ELEMENTS / 10


def test_private_elements_are_not_looked_into(tmp_path: Path, reader: DecoderProcess) -> None:
    ds = image()
    ds.add_new(0x00091001, "OB", b"\0" * (4 << 20))
    reader.ask(plan.make, save(ds, tmp_path / "private.dcm"), ADMISSION, Origin())


@pytest.mark.parametrize(
    "keyword",
    [
        "Rows",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "NumberOfFrames",
        "PixelPaddingValue",
        "RescaleSlope",
        "WindowCenter",
        "PixelSpacing",
        "SeriesNumber",
        "ShutterLeftVerticalEdge",
        "Modality",
        "StudyInstanceUID",
        "ImageType",
        "PixelData",
    ],
)
def test_no_reason_quotes_the_data_set(
    tmp_path: Path, reader: DecoderProcess, upscaler: Upscaler, keyword: str
) -> None:
    ds = image()
    put(ds, keyword, "LO", QUOTED)
    assert QUOTED not in end_of(save(ds, tmp_path / "secret.dcm"), reader, upscaler)


def end_of(path: Path, reader: DecoderProcess, upscaler: Upscaler) -> str:
    """The reason for which nothing is made of a file, if so."""
    try:
        header.read_identity(path)
        process(path, reader, upscaler, scale=2)
    except (Skipped, Unreadable, Undecodable) as error:
        return str(error)
    return ""


@pytest.mark.filterwarnings("ignore:Unknown encoding", "ignore:Failed to decode")
@pytest.mark.parametrize("charset", ["zlib_codec", "rot13", "hex", "base64", "idna", "undefined", "SECRET"])
def test_a_character_set_that_is_none_ends_with_a_reason_at_most(
    tmp_path: Path, reader: DecoderProcess, upscaler: Upscaler, charset: str
) -> None:
    ds = image()
    ds.SpecificCharacterSet = "ISO_IR 100"
    path = save(ds, tmp_path / "charset.dcm")
    content = path.read_bytes()
    assert b"ISO_IR 100" in content
    path.write_bytes(content.replace(b"ISO_IR 100", charset.ljust(10).encode()))
    reason = end_of(path, reader, upscaler)
    assert not reason or reason.startswith(damage.CANNOT_BE_USED)
    assert "SECRET" not in reason


def test_a_huge_overlay_of_a_small_image_is_left_out(
    tmp_path: Path, reader: DecoderProcess, upscaler: Upscaler
) -> None:
    ds = image()
    with_overlay(ds, rows=4000, columns=4000)
    made = process(save(ds, tmp_path / "overlay.dcm"), reader, upscaler, scale=2)
    assert (0x6000, 0x3000) not in made.image


def test_text_in_a_character_set_that_costs_is_never_decoded(
    tmp_path: Path, reader: DecoderProcess, upscaler: Upscaler
) -> None:
    ds = image()
    ds.SpecificCharacterSet, ds.SeriesDescription = "ISO_IR 100", "a" * 60_000
    ds.DerivationDescription = "b" * 60_000
    path = save(ds, tmp_path / "punycode.dcm")
    path.write_bytes(path.read_bytes().replace(b"ISO_IR 100", b"punycode  "))
    made = process(path, reader, upscaler, scale=2).image
    assert made.SeriesDescription == ("AI SR x2 " + "a" * 64)[:64]


@pytest.mark.parametrize("part", [0x3000, 0x0022])
def test_an_overlay_group_is_bounded_too(tmp_path: Path, reader: DecoderProcess, part: int) -> None:
    ds = image()
    if part == 0x3000:
        ds.add_new((0x6000, part), "OW", b"\0" * (20 << 20))
    else:
        ds.add_new((0x6000, part), "SQ", [Dataset() for _ in range(30_000)])
    with pytest.raises(Unreadable, match="beyond reason"):
        reader.ask(plan.make, save(ds, tmp_path / "overlay.dcm"), ADMISSION, Origin())
