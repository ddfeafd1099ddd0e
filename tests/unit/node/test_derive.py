"""The derived image: right in geometry, identity, grey scale and provenance, and valid by an independent validator."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from pydicom import DataElement, Dataset, dcmread
from pydicom.dataset import FileDataset
from pydicom.pixels.processing import apply_voi_lut
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless
from support.images import image, process, put, save, set_pixels, upscale, with_overlay
from support.tools import SYNTHETIC_DATA_WAIVER, dciodvfy_errors, need, run, shared

from dicom_sr_node.config.rules import Match, Rule
from dicom_sr_node.derive import geometry, identity, label
from dicom_sr_node.derive.identity import Algorithm
from dicom_sr_node.dicom import elements, header
from dicom_sr_node.domain.errors import Skipped, Unreadable
from dicom_sr_node.pixels.decode import decode
from dicom_sr_node.pixels.sandbox import DecoderProcess
from dicom_sr_node.rules import eligibility
from dicom_sr_node.rules.routing import EVERYTHING
from dicom_sr_node.verify.verification import verify
from model.consistency import block_sums
from model.upscaler import Upscaler

MAKER = Algorithm(model="m", version="1", sha256="ab" * 32, scale=4, label="burned")


Derive = Callable[..., FileDataset]


@pytest.fixture
def derive(tmp_path: Path, reader: DecoderProcess, upscaler: Upscaler) -> Derive:
    """Makes the derived image of a data set; both lie in tmp_path as NAME-source.dcm and NAME.dcm."""

    def make(source: Dataset, *, scale: int = 4, name: str = "derived", **wanted: Any) -> FileDataset:
        path = save(source, tmp_path / f"{name}-source.dcm")
        return upscale(path, tmp_path / f"{name}.dcm", reader, upscaler, scale=scale, **wanted)

    return make


@pytest.mark.parametrize("scale", [2, 4])
def test_the_physical_extent_does_not_move(derive: Derive, scale: int) -> None:
    source = image()
    source.PixelSpacing = ["0.148", "0.15"]
    source.PixelSpacingCalibrationType = "FIDUCIAL"
    source.EstimatedRadiographicMagnificationFactor = "1.1"
    source.DetectorElementSpacing = ["0.1", "0.1"]
    derived = derive(source, scale=scale)
    for keyword in ("ImagerPixelSpacing", "PixelSpacing"):
        for mine, theirs in zip(derived[keyword].value, source[keyword].value, strict=True):
            assert math.isclose(float(mine) * scale, float(theirs), rel_tol=1e-12)
            assert len(str(mine)) <= 16
    assert (derived.Rows, derived.Columns) == (64 * scale, 64 * scale)
    assert derived.PixelSpacingCalibrationType == "FIDUCIAL"
    assert derived.EstimatedRadiographicMagnificationFactor == source.EstimatedRadiographicMagnificationFactor
    assert derived.DetectorElementSpacing == source.DetectorElementSpacing


@pytest.mark.parametrize("spacing", [["0", "0"], ["-1", "1"], ["0.0", "0.1"]])
def test_a_spacing_that_says_nothing_is_dropped_with_its_calibration(spacing: list[str]) -> None:
    source = Dataset()
    source.PixelSpacing, source.PixelSpacingCalibrationType = spacing, "GEOMETRY"
    assert len(geometry.scaled(source, 4)) == 0


def test_shutters_and_collimators_move_with_the_pixels() -> None:
    source = Dataset()
    source.ShutterShape = "RECTANGULAR"
    source.ShutterLeftVerticalEdge, source.ShutterRightVerticalEdge = 7, 195
    source.CollimatorUpperHorizontalEdge, source.CollimatorLowerHorizontalEdge = 1, 64
    source.CenterOfCircularShutter, source.RadiusOfCircularShutter = [120, 120], 50
    scaled = geometry.scaled(source, 4)
    assert (scaled.ShutterLeftVerticalEdge, scaled.ShutterRightVerticalEdge) == (25, 780)
    assert (scaled.CollimatorUpperHorizontalEdge, scaled.CollimatorLowerHorizontalEdge) == (1, 256)
    assert list(scaled.CenterOfCircularShutter) == [478, 478]
    assert scaled.RadiusOfCircularShutter == 200


def test_overlays_keep_each_bit_in_its_place() -> None:
    bits = np.random.default_rng(0).integers(0, 2, (5, 7), dtype=np.uint8)
    source = Dataset()
    source.add_new(0x60000010, "US", 5)
    source.add_new(0x60000011, "US", 7)
    source.add_new(0x60000050, "SS", [2, 3])
    source.add_new(0x60000040, "CS", "G")
    source.add_new(0x60001301, "IS", "12")
    source.add_new(0x60003000, "OW", geometry.pack_bits(bits))
    scaled = geometry.scaled(source, 4)
    assert (scaled[0x60000010].value, scaled[0x60000011].value) == (20, 28)
    assert list(scaled[0x60000050].value) == [5, 9]
    assert scaled[0x60000040].value == "G"
    assert 0x60001301 not in scaled
    unpacked = np.unpackbits(np.frombuffer(scaled[0x60003000].value, np.uint8), bitorder="little")[: 20 * 28]
    assert np.array_equal(unpacked.reshape(20, 28), bits.repeat(4, 0).repeat(4, 1))


def test_grey_scale_is_copied_and_pixels_hold_the_original(derive: Derive) -> None:
    source = image(inverted=True)
    source.SmallestImagePixelValue, source.LargestImagePixelValue = 0, 4095
    derived = derive(source)
    for keyword in [
        "PhotometricInterpretation",
        "PresentationLUTShape",
        "BitsStored",
        "PixelIntensityRelationship",
        "PixelIntensityRelationshipSign",
        "RescaleSlope",
        "RescaleIntercept",
    ]:
        assert derived[keyword].value == source[keyword].value, keyword
    values = decode(derived).values
    assert np.array_equal(block_sums(values, 4), decode(source).values.astype(np.int64) * 16)
    assert (derived.SmallestImagePixelValue, derived.LargestImagePixelValue) == (values.min(), values.max())
    assert derived.HighBit == derived.BitsStored - 1


def test_it_says_what_it_is_and_where_it_comes_from(upscaler: Upscaler, derive: Derive) -> None:
    source = image()
    source.DerivationDescription = "edge enhanced"
    source.TimezoneOffsetFromUTC = "+0530"
    derived = derive(source)
    card = upscaler.card
    assert list(derived.ImageType) == ["DERIVED", "SECONDARY", "", "AI_SUPERRES"]
    assert derived.ContentQualification == "RESEARCH"
    assert derived.SyntheticData == "YES"
    assert derived.SeriesDescription == "AI SR x4 Chest PA"
    assert derived.SeriesNumber == 9001
    assert "Not for primary diagnosis" in derived.ImageComments
    assert card.sha256 in derived.DerivationDescription
    assert derived.DerivationDescription.endswith("Source: edge enhanced")
    assert derived.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert derived.SourceImageSequence[0].SpatialLocationsPreserved == "NO"
    assert derived.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
    assert derived.Manufacturer == "dicom_sr_node"
    devices = {item.PurposeOfReferenceCodeSequence[0].CodeValue: item for item in derived.ContributingEquipmentSequence}
    assert devices["109101"].Manufacturer == source.Manufacturer
    assert devices["109100"].DeviceUID == derived.DeviceUID
    assert card.sha256 in devices["109100"].ContributionDescription
    assert (derived.ContentDate, derived.ContentTime[:6]) == ("20260504", "180015")  # in the source's own time zone
    assert derived.StudyDate == source.StudyDate
    assert derived.preamble == b"\0" * 128


def test_what_belongs_to_another_instance_is_dropped(derive: Derive) -> None:
    source = image()
    source.add_new(0x00091001, "LO", "private")
    source.PerformedProcedureStepID = "1"
    source.SmallestPixelValueInSeries = 1
    source.SpatialResolution = "0.2"
    source.IrradiationEventUID = "1.2.3"
    derived = derive(source)
    for keyword in ("PerformedProcedureStepID", "SmallestPixelValueInSeries", "SpatialResolution"):
        assert keyword not in derived
    assert not [element for element in derived if element.tag.is_private]
    assert derived.IrradiationEventUID == source.IrradiationEventUID  # the same exposure


def test_lossy_history_is_kept_and_made_good(derive: Derive) -> None:
    known = image()
    known.LossyImageCompression, known.LossyImageCompressionRatio = "01", "12"
    known.LossyImageCompressionMethod = "ISO_10918_1"
    derived = derive(known, name="known")
    assert (derived.LossyImageCompression, derived.LossyImageCompressionRatio) == ("01", 12)
    silent = image(modality="CR")
    silent.compress("1.2.840.10008.1.2.4.91", j2k_cr=[10], generate_instance_uid=False)
    derived = derive(silent, name="silent")
    assert derived.LossyImageCompression == "01"
    assert derived.LossyImageCompressionMethod == "ISO_15444_1"
    assert derived.LossyImageCompressionRatio > 2


def test_uids_follow_from_source_weights_and_parameters_alone() -> None:
    source = image()

    def uids(algorithm: Algorithm, ds: Dataset = source) -> tuple[str, str]:
        return identity.sop_instance_uid(ds, decode(ds), algorithm), identity.series_instance_uid(ds, algorithm)

    first = uids(MAKER)
    assert uids(MAKER) == first
    assert all(len(uid) <= 44 and uid.startswith("2.25.") for uid in first)
    for other in ({"sha256": "cd" * 32}, {"scale": 2}, {"label": "none"}):
        changed = uids(Algorithm(**{**vars(MAKER), **other}))
        assert changed[0] != first[0]
        assert changed[1] != first[1]
    repacked = image()
    repacked.compress(JPEG2000Lossless, generate_instance_uid=False)
    assert uids(MAKER, repacked) == first  # the same pixels in another transfer syntax
    other_pixels = image(seed=8)
    assert uids(MAKER, other_pixels)[0] != first[0]
    second = image(number=2)
    assert uids(MAKER, ds=second)[1] == first[1]  # the same series for another image of it
    assert uids(MAKER, ds=second)[0] != first[0]


def test_another_patient_study_or_order_is_another_result() -> None:
    def uid(ds: Dataset) -> str:
        return identity.sop_instance_uid(ds, decode(ds), MAKER)

    first = uid(image())
    for keyword, value in (
        ("PatientID", "OTHER"),
        ("IssuerOfPatientID", "WARD"),
        ("PatientName", "Other^Name"),
        ("PatientBirthDate", "19000101"),
        ("StudyInstanceUID", "1.2.3"),
        ("AccessionNumber", "A9"),
    ):
        corrected = image()
        setattr(corrected, keyword, value)
        assert uid(corrected) != first, keyword
    same = image()
    same.PatientID, same.StationName = f"{same.PatientID} ", "ANOTHER"
    assert uid(same) == first


def test_our_own_output_is_never_processed_again(derive: Derive) -> None:
    derived = derive(image())
    with pytest.raises(Skipped, match="already upscaled"):
        eligibility.admit(derived, EVERYTHING)


@pytest.mark.parametrize("inverted", [False, True])
def test_a_burned_label_reads_white_on_black(derive: Derive, inverted: bool) -> None:
    source = image(128, inverted=inverted)
    derived = derive(source, label="burned")
    box, letters = label.draw((512, 512), 4)
    assert letters.any()
    shown = decode(derived).values[box.area].astype(int)
    bright = -shown if inverted else shown
    assert bright[letters].min() > bright[~letters].max()
    sums = block_sums(decode(derived).values, 4)
    outside = np.ones((128, 128), bool)
    outside[box.top // 4 : box.bottom // 4, box.left // 4 : box.right // 4] = False
    assert np.array_equal(sums[outside], decode(source).values.astype(np.int64)[outside] * 16)
    assert str(box) in derived.DerivationDescription


def test_a_label_avoids_the_padding_value(derive: Derive) -> None:
    source = image(128)
    source.PixelPaddingValue = 0
    derived = derive(source, label="burned")
    box, _ = label.draw((512, 512), 4)
    assert (decode(derived).values[box.area] != 0).all()


def test_an_overlay_label_leaves_all_pixels_alone(derive: Derive) -> None:
    source = image(128)
    derived = derive(source, label="overlay")
    assert derived[0x60000022].value == label.OVERLAY_NAME
    assert derived.overlay_array(0x6000).any()
    assert np.array_equal(block_sums(decode(derived).values, 4), decode(source).values.astype(np.int64) * 16)


def with_every_part(ds: FileDataset) -> FileDataset:
    ds.ShutterShape = "RECTANGULAR"
    ds.ShutterLeftVerticalEdge, ds.ShutterRightVerticalEdge = 3, 60
    ds.ShutterUpperHorizontalEdge, ds.ShutterLowerHorizontalEdge = 3, 60
    ds.ShutterPresentationValue = 0
    ds.PixelPaddingValue = 0
    return ds


@pytest.mark.parametrize("kind", ["burned", "overlay", "none"])
@pytest.mark.parametrize(
    "source",
    [image(), image(inverted=True), image(modality="CR"), with_every_part(image())],
    ids=["dx", "monochrome1", "cr", "dx with shutter and padding"],
)
def test_dciodvfy_finds_no_error_that_the_source_does_not_have(
    tmp_path: Path, derive: Derive, source: FileDataset, kind: Any
) -> None:
    derive(source, label=kind)
    known = dciodvfy_errors(tmp_path / "derived-source.dcm")
    assert dciodvfy_errors(tmp_path / "derived.dcm") - known <= {SYNTHETIC_DATA_WAIVER}


@pytest.mark.parametrize("name", ["cr-fuji-chest-10bit-mono1.dcm", "dx-fuji-8bit-odd-length.dcm"])
def test_dciodvfy_finds_no_new_error_in_what_is_made_of_real_files(
    tmp_path: Path, reader: DecoderProcess, upscaler: Upscaler, name: str
) -> None:
    source = shared("dicom", name)
    upscale(source, tmp_path / "derived.dcm", reader, upscaler, label="burned")
    assert dciodvfy_errors(tmp_path / "derived.dcm") - dciodvfy_errors(source) <= {SYNTHETIC_DATA_WAIVER}


def test_an_eight_bit_image_of_odd_size_is_written_with_even_length(derive: Derive) -> None:
    source = image()
    set_pixels(source, (decode(source).values[:63, :61] >> 4).astype(np.uint8))
    source.BitsStored, source.HighBit = 8, 7
    derived = derive(source)
    assert (derived.BitsAllocated, len(derived.PixelData) % 2) == (8, 0)
    assert np.array_equal(block_sums(decode(derived).values, 4), decode(source).values.astype(np.int64) * 16)


def test_a_big_endian_source_keeps_its_lookup_table(tmp_path: Path, reader: DecoderProcess, upscaler: Upscaler) -> None:
    source = image()
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [256, 0, 12])
    item.add_new("LUTData", "OW", np.arange(256, dtype="<u2").tobytes())
    source.VOILUTSequence = [item]
    little, big, target = save(source, tmp_path / "le.dcm"), tmp_path / "be.dcm", tmp_path / "derived.dcm"
    run(need("dcmconv", "dcmtk"), "+tb", little, big)
    assert upscale(big, target, reader, upscaler).VOILUTSequence[0].LUTData == item.LUTData
    assert [check.name for check in verify(target, big, reader) if not check.passed] == []


def test_a_source_without_type_two_elements_yields_a_result_that_verifies(
    tmp_path: Path, reader: DecoderProcess, derive: Derive
) -> None:
    source = image()
    for keyword in ("InstanceNumber", "SeriesNumber", "StudyDate", "StudyID", "Manufacturer", "SpecificCharacterSet"):
        delattr(source, keyword)
    derive(source)
    checks = verify(tmp_path / "derived.dcm", tmp_path / "derived-source.dcm", reader)
    assert [check.name for check in checks if not check.passed] == []


@pytest.mark.parametrize("kind", ["burned", "overlay", "none"])
def test_an_image_too_small_for_its_label_verifies(
    tmp_path: Path, reader: DecoderProcess, derive: Derive, kind: Any
) -> None:
    source = image()
    set_pixels(source, decode(source).values[:16, :16])
    derive(source, label=kind, scale=2)
    checks = verify(tmp_path / "derived.dcm", tmp_path / "derived-source.dcm", reader)
    assert [check.name for check in checks if not check.passed] == []


def test_an_image_that_is_all_padding_gets_no_label(derive: Derive) -> None:
    source = image(128)
    source.PixelPaddingValue, source.PixelPaddingRangeLimit = 0, 4095
    derived = derive(source, label="burned")
    assert np.array_equal(decode(derived).values, decode(source).values.repeat(4, 0).repeat(4, 1))


@pytest.mark.parametrize(("keyword", "value"), [("Rows", [5, 6]), ("BitsStored", [12, 8])])
def test_an_element_of_the_wrong_kind_is_a_damaged_file(
    tmp_path: Path, reader: DecoderProcess, upscaler: Upscaler, keyword: str, value: object
) -> None:
    source = image()
    setattr(source, keyword, value)
    with pytest.raises(Unreadable, match="cannot be used"):
        process(save(source, tmp_path / "a.dcm"), reader, upscaler)


@pytest.mark.parametrize(
    ("center", "width", "kept"),
    [
        ("2000", "800", ("2000", "800")),
        (["2000", "1000"], ["1500", "800"], ("2000", "1500")),
        (["2000.50", "1000"], ["1.5e3"], ("2000.50", "1.5e3")),
        (["", "1000"], ["", "800"], ("1000", "800")),
        (["2000", "1000"], ["0", "800"], ("1000", "800")),
    ],
)
def test_of_several_windows_the_first_usable_one_is_kept_with_its_digits(
    tmp_path: Path, derive: Derive, center: Any, width: Any, kept: tuple[str, str]
) -> None:
    source = image()
    source.WindowCenter, source.WindowWidth = center, width
    if isinstance(center, list):
        source.WindowCenterWidthExplanation = ["NORMAL", "HARDER"]
    derive(source)
    written = (tmp_path / "derived.dcm").read_bytes()
    ds = dcmread(tmp_path / "derived.dcm")
    assert tuple(elements.text_of(ds, keyword) for keyword in ("WindowCenter", "WindowWidth")) == kept
    assert written.count(b"\x28\x00\x50\x10DS") == 1
    if isinstance(center, list):
        assert ds.WindowCenterWidthExplanation == ("NORMAL" if kept[0].startswith("2000") else "HARDER")


def test_a_result_keeps_within_what_was_measured(derive: Derive) -> None:
    source = image()
    set_pixels(source, np.clip(decode(source).values, 500, 3000))
    values = decode(derive(source)).values
    assert (values.min(), values.max()) == (500, 3000)


@pytest.mark.parametrize("allocated", [8, 16])
@pytest.mark.parametrize("syntax", ["implicit", "explicit"])
def test_signed_values_and_their_padding_keep_their_sign(
    tmp_path: Path, reader: DecoderProcess, derive: Derive, allocated: int, syntax: str
) -> None:
    source = image()
    values = decode(source).values.astype(int) // (16 if allocated == 8 else 1) - (128 if allocated == 8 else 2048)
    values[:10] = low = values.min() - (0 if allocated == 8 else 100)
    set_pixels(source, values.astype(f"i{allocated // 8}"))
    source.BitsStored, source.HighBit, source.PixelRepresentation = allocated, allocated - 1, 1
    for keyword, value in (
        ("PixelPaddingValue", low),
        ("SmallestImagePixelValue", low),
        ("LargestImagePixelValue", values.max()),
    ):
        source[keyword] = DataElement(keyword, "SS", int(value))
    if syntax == "implicit":
        source.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        source.set_original_encoding(True, True)
    derived = derive(source)
    assert derived.PixelPaddingValue == low
    assert (derived.SmallestImagePixelValue, derived.LargestImagePixelValue) == (low, values.max())
    found = decode(derived).values.astype(int)
    assert np.array_equal(block_sums(found, 4), values * 16)
    assert ((found == low) == (values == low).repeat(4, 0).repeat(4, 1)).all()
    checks = verify(tmp_path / "derived.dcm", tmp_path / "derived-source.dcm", reader)
    assert [check.name for check in checks if not check.passed] == []


def test_an_overlay_inside_the_pixels_becomes_a_plane_of_its_own(
    tmp_path: Path, reader: DecoderProcess, derive: Derive
) -> None:
    source = image()
    plane = np.random.default_rng(5).integers(0, 2, (64, 64), dtype=np.uint16)
    expected = decode(source).values
    set_pixels(source, expected | plane << 14)
    for element, vr, value in (
        (0x0010, "US", 64),
        (0x0011, "US", 64),
        (0x0040, "CS", "G"),
        (0x0050, "SS", [1, 1]),
        (0x0100, "US", 16),
        (0x0102, "US", 14),
    ):
        source.add_new((0x6000, element), vr, value)
    derived = derive(source)
    assert (derived[0x60000100].value, derived[0x60000102].value) == (1, 0)
    assert np.array_equal(derived.overlay_array(0x6000), plane.repeat(4, 0).repeat(4, 1))
    assert np.array_equal(block_sums(decode(derived).values, 4), expected.astype(np.int64) * 16)
    checks = verify(tmp_path / "derived.dcm", tmp_path / "derived-source.dcm", reader)
    assert [check.name for check in checks if not check.passed] == []


@pytest.mark.parametrize("name", ["mg-ge-voi-lut-three-windows.dcm", "mg-overlay-out-of-bounds.dcm"])
def test_a_mammogram_is_served_where_a_rule_names_it(
    tmp_path: Path, reader: DecoderProcess, upscaler: Upscaler, name: str
) -> None:
    ds = header.read(shared("dicom", name))
    whole = decode(ds).values
    top, left = (length // 2 for length in whole.shape)
    set_pixels(ds, np.ascontiguousarray(whole[top - 100 : top + 100, left - 90 : left + 90]))
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    source, target = save(ds, tmp_path / "mg.dcm"), tmp_path / "derived.dcm"
    rule = Rule(name="mg", match=Match(modality=("MG",)))
    derived = upscale(source, target, reader, upscaler, scale=2, rules=(rule,), label="burned")
    assert derived.SOPClassUID == ds.SOPClassUID
    assert derived.Modality == "MG"
    assert np.ndim(derived.WindowCenter) == 0
    assert derived.get("VOILUTSequence") == ds.get("VOILUTSequence")
    assert [check.name for check in verify(target, source, reader) if not check.passed] == []
    assert dciodvfy_errors(target) - dciodvfy_errors(source) <= {SYNTHETIC_DATA_WAIVER}


ODD: dict[str, Callable[[Dataset], object]] = {
    "a spatial resolution with a comma": lambda ds: put(ds, "SpatialResolution", "LO", "0,1"),
    "a series number that is a superscript": lambda ds: put(ds, "SeriesNumber", "LO", "²"),
    "two modalities": lambda ds: setattr(ds, "Modality", ["DX", "CR"]),
    "no modality": lambda ds: delattr(ds, "Modality"),
    "no pixel representation": lambda ds: delattr(ds, "PixelRepresentation"),
    "a slope that is no number": lambda ds: put(ds, "RescaleSlope", "LO", "NaN"),
    "a manufacturer that is too long": lambda ds: setattr(ds, "Manufacturer", "x" * 80),
    "two manufacturers": lambda ds: put(ds, "Manufacturer", "LO", ["A", "B"]),
    "an acquisition on the 99th": lambda ds: put(ds, "AcquisitionDate", "LO", "20009999"),
    "a VOI LUT that is empty": lambda ds: setattr(ds, "VOILUTSequence", [Dataset()]),
    "two rescale slopes": lambda ds: put(ds, "RescaleSlope", "LO", ["1", "2"]),
    "an overlay far outside": lambda ds: with_overlay(ds, origin=9000),
    "an overlay far larger than the image": lambda ds: with_overlay(ds, rows=17000),
}


@pytest.mark.parametrize("change", ODD.values(), ids=ODD)
def test_an_oddity_that_does_not_matter_is_no_reason_to_refuse(
    tmp_path: Path, reader: DecoderProcess, derive: Derive, change: Callable[[Dataset], object]
) -> None:
    source = image()
    change(source)
    derive(source)
    derived, original = tmp_path / "derived.dcm", tmp_path / "derived-source.dcm"
    assert [check.name for check in verify(derived, original, reader) if not check.passed] == []
    assert dciodvfy_errors(derived) - dciodvfy_errors(original) <= {SYNTHETIC_DATA_WAIVER}


@pytest.mark.parametrize("syntax", ["+te", "+tb"])
def test_a_sequence_that_is_none_is_left_out(
    tmp_path: Path, reader: DecoderProcess, upscaler: Upscaler, syntax: str
) -> None:
    source = image()
    source.MedicalAlerts = "XXXX"
    plain, path = save(source, tmp_path / "plain.dcm"), tmp_path / "source.dcm"
    run(need("dcmconv", "dcmtk"), syntax, plain, path)
    order: Literal["little", "big"] = "big" if syntax == "+tb" else "little"
    tag, unknown = ((0x10).to_bytes(2, order) + part.to_bytes(2, order) for part in (0x2000, 0x1002))
    content = path.read_bytes()
    known = tag + b"LO" + (4).to_bytes(2, order) + b"XXXX"
    assert known in content
    path.write_bytes(content.replace(known, unknown + b"UN\0\0" + (4).to_bytes(4, order) + b"\1\2\3\4"))
    assert "OtherPatientIDsSequence" not in upscale(path, tmp_path / "derived.dcm", reader, upscaler)


def test_an_overlay_label_that_no_origin_can_reach_is_left_out(
    tmp_path: Path, reader: DecoderProcess, derive: Derive
) -> None:
    source = image(256)
    set_pixels(source, np.tile(decode(source).values[:, :100], (33, 1)))  # 33792 rows at x4
    derived = derive(source, label="overlay")
    assert (0x6000, 0x3000) not in derived
    checks = verify(tmp_path / "derived.dcm", tmp_path / "derived-source.dcm", reader)
    assert [check.name for check in checks if not check.passed] == []


def test_edges_written_with_a_fraction_move_too() -> None:
    source = Dataset()
    put(source, "ShutterLeftVerticalEdge", "LO", "3.0")
    put(source, "CenterOfCircularShutter", "LO", ["10.5", "20.5"])
    scaled = geometry.scaled(source, 4)
    assert scaled.ShutterLeftVerticalEdge == 9
    assert list(scaled.CenterOfCircularShutter) == [38, 78]


def voi_lut(values: np.ndarray) -> list[Dataset]:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(values), 0, 12])
    item.add_new("LUTData", "OW", values.astype("<u2").tobytes())
    return [item]


def little_contrast(ds: FileDataset) -> None:
    set_pixels(ds, 1000 + ds.pixel_array // 400)


def little_contrast_inverted(ds: FileDataset) -> None:
    little_contrast(ds)
    ds.PhotometricInterpretation, ds.PresentationLUTShape = "MONOCHROME1", "INVERSE"


def descending_lut(ds: FileDataset) -> None:
    ds.VOILUTSequence = voi_lut(np.arange(4095, -1, -1))


def lut_and_window(ds: FileDataset) -> None:
    ds.VOILUTSequence = voi_lut(np.arange(4096))
    ds.WindowCenter, ds.WindowWidth = "2000", "200"


DISPLAYS: dict[str, Callable[[FileDataset], object]] = {
    "little contrast in a wide window": little_contrast,
    "little contrast, MONOCHROME1": little_contrast_inverted,
    "a descending LUT": descending_lut,
    "a LUT beside a narrow window": lut_and_window,
}


@pytest.mark.parametrize("change", DISPLAYS.values(), ids=DISPLAYS)
def test_a_burned_label_reads_white_on_black_whatever_the_display(
    derive: Derive, change: Callable[[FileDataset], object]
) -> None:
    source = image(128)
    change(source)
    if "VOILUTSequence" in source and source.WindowWidth != 200:
        del source.WindowCenter, source.WindowWidth
    derived = derive(source, label="burned")
    box, letters = label.draw((512, 512), 4)
    for prefer_lut in (True, False):
        shown = apply_voi_lut(derived.pixel_array, derived, prefer_lut=prefer_lut).astype(float) / 4095
        if derived.PhotometricInterpretation == "MONOCHROME1":
            shown = 1 - shown
        assert shown[box.area][letters].min() > shown[box.area][~letters].max() + 0.4
