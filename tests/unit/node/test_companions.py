"""The heat map and the report: valid by independent tools, of the same patient byte for byte, and true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset
from support.images import image, process, save, set_pixels
from support.tools import SYNTHETIC_DATA_WAIVER, dciodvfy_errors, need, run, shared

from dicom_sr_node.derive import encoding, heat_map
from dicom_sr_node.domain.errors import Skipped
from dicom_sr_node.domain.records import OutputKind
from dicom_sr_node.pixels.sandbox import DecoderProcess
from dicom_sr_node.work.pipeline import DerivedResult
from model.upscaler import Upscaler

Made = tuple[DerivedResult, FileDataset, FileDataset]


@pytest.fixture(params=["phantom", "cr-fuji-chest-10bit-mono1.dcm"])
def made(request: pytest.FixtureRequest, tmp_path: Path, reader: DecoderProcess, upscaler: Upscaler) -> Made:
    source = save(image(), tmp_path / "a.dcm") if request.param == "phantom" else shared("dicom", request.param)
    return all_of(source, tmp_path, reader, upscaler)


def all_of(source: Path, tmp_path: Path, reader: DecoderProcess, upscaler: Upscaler) -> Made:
    """What was made of a file, with its heat map and its report, written and read again."""
    derived = process(source, reader, upscaler, scale=2, heat_map=True, report=True)
    read = []
    for kind in (OutputKind.HEAT_MAP, OutputKind.REPORT):
        path = tmp_path / f"{kind}.dcm"
        path.write_bytes(encoding.plain(derived.extras[kind]))
        read.append(dcmread(path))
    return derived, read[0], read[1]


def test_independent_tools_find_no_error(made: Made, tmp_path: Path) -> None:
    for kind in (OutputKind.HEAT_MAP, OutputKind.REPORT):
        found = dciodvfy_errors(tmp_path / f"{kind}.dcm")
        theirs = {line for line in found if any(word in line for word in ("AcquisitionDate", "AcquisitionTime"))}
        assert found - theirs <= {SYNTHETIC_DATA_WAIVER}
    told = run(need("dsrdump", "dcmtk"), tmp_path / f"{OutputKind.REPORT}.dcm").stdout
    assert "Imaging Measurement Report" in told
    assert "xr-lite" in told


def test_they_are_of_the_same_study_and_say_what_they_are(made: Made) -> None:
    derived, picture, report = made
    for ds in (picture, report):
        assert ds.StudyInstanceUID == derived.image.StudyInstanceUID
        assert ds.SeriesInstanceUID != derived.image.SeriesInstanceUID
        assert ds.SyntheticData == "YES"
        assert ds.DeviceUID == derived.image.DeviceUID
        assert ds.Manufacturer == "dicom_sr_node"
        assert str(ds.get("PatientID") or "") == str(derived.image.get("PatientID") or "")
    assert picture.ContentQualification == "RESEARCH"
    assert picture.ImageType[3] == "AI_HEATMAP"
    assert picture.SourceImageSequence[0].ReferencedSOPInstanceUID == _source_of(derived)


def _source_of(derived: DerivedResult) -> str:
    return str(derived.image.SourceImageSequence[0].ReferencedSOPInstanceUID)


def test_the_report_holds_the_numbers_of_the_image(made: Made) -> None:
    derived, _, report = made
    numbers, references = {}, []
    for item in _items(report):
        if item.ValueType == "NUM":
            name = item.ConceptNameCodeSequence[0].CodeValue
            numbers[name] = float(item.MeasuredValueSequence[0].NumericValue)
        elif item.ValueType == "IMAGE":
            references.append(str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID))
    assert numbers["SR-002"] == 0
    assert numbers["SR-003"] == pytest.approx(derived.quality.detail.rms, abs=1e-4)
    assert numbers["SR-004"] == pytest.approx(100 * derived.quality.detail.share, abs=1e-4)
    assert numbers["SR-006"] == 2
    assert references == [str(derived.image.SOPInstanceUID)]
    evidence = {
        str(instance.ReferencedSOPInstanceUID)
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    } | {
        str(instance.ReferencedSOPInstanceUID)
        for study in report.get("PertinentOtherEvidenceSequence") or ()
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }
    assert evidence == {str(derived.image.SOPInstanceUID), _source_of(derived)}


def _items(ds: FileDataset) -> list[FileDataset]:
    return [item for child in ds.get("ContentSequence") or () for item in (child, *_items(child))]


def test_the_heat_map_is_coloured_where_detail_was_added(made: Made) -> None:
    derived, picture, _ = made
    detail = derived.quality.detail
    pixels = picture.pixel_array.astype(int)
    assert pixels.shape == (*detail.blocks.shape, 3)
    pixels = pixels[: -detail.blocks.shape[0] // 4]  # without the label
    strength = (detail.blocks / (detail.width * heat_map.FULL_SHARE))[: len(pixels)]
    redness = pixels[..., 0] - pixels[..., 2]
    assert (redness[strength < 0.004] <= 1).all()
    assert (redness[strength >= 1] == 255).all()
    assert np.corrcoef(redness.ravel(), np.clip(strength, 0, 1).ravel())[0, 1] > 0.99


def test_names_stay_byte_for_byte_in_all_of_them(tmp_path: Path, reader: DecoderProcess, upscaler: Upscaler) -> None:
    name = b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B="
    name += b" " * (len(name) % 2)
    ds = image()
    ds.SpecificCharacterSet, ds.PatientName = ["", "ISO 2022 IR 87"], "@" * len(name)
    path = save(ds, tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes().replace(b"@" * len(name), name))
    for made in all_of(path, tmp_path, reader, upscaler)[1:]:
        element = made.get_item("PatientName")
        assert isinstance(element, RawDataElement)
        assert element.value == name


def test_their_uids_follow_from_the_image(tmp_path: Path, reader: DecoderProcess, upscaler: Upscaler) -> None:
    source = save(image(), tmp_path / "a.dcm")
    first, second = (all_of(source, tmp_path, reader, upscaler) for _ in range(2))
    assert [ds.SOPInstanceUID for ds in first[1:]] == [ds.SOPInstanceUID for ds in second[1:]]
    other = image(seed=8)
    set_pixels(other, other.pixel_array // 2)
    third = all_of(save(other, tmp_path / "b.dcm"), tmp_path, reader, upscaler)
    assert first[1].SOPInstanceUID != third[1].SOPInstanceUID
    assert first[2].SOPInstanceUID != third[2].SOPInstanceUID


def test_none_of_them_is_upscaled_again(made: Made, tmp_path: Path, reader: DecoderProcess, upscaler: Upscaler) -> None:
    for kind in (OutputKind.HEAT_MAP, OutputKind.REPORT):
        with pytest.raises(Skipped, match="not a radiograph"):
            process(tmp_path / f"{kind}.dcm", reader, upscaler)
