"""From a data set to a frame: every syntax the same values, every oddity a reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from kit import image, need, run, save, set_pixels, shared
from pydicom import Dataset, dcmread
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless, SecondaryCaptureImageStorage

from dicom_sr_node.errors import Skipped, Undecodable, Unreadable
from dicom_sr_node.pixels import gate, header
from dicom_sr_node.pixels.decode import decode
from dicom_sr_node.settings import Model


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless], ids=lambda uid: uid.name)
def test_lossless_syntaxes_decode_to_the_same_values(tmp_path: Path, syntax: str) -> None:
    plain = image()
    expected = decode(plain).values
    packed = image()
    packed.compress(syntax, generate_instance_uid=False)
    again = header.read(save(packed, tmp_path / "packed.dcm"))
    assert again.file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(decode(again).values, expected)


@pytest.mark.parametrize(
    ("tool", "options"),
    [
        ("dcmcjpeg", ["+e1"]),
        ("dcmcjpeg", ["+el"]),
        ("dcmcjpls", []),
        ("dcmcrle", []),
        ("dcmconv", ["+tb"]),
        ("dcmconv", ["+ti"]),
    ],
    ids=["jpeg lossless sv1", "jpeg lossless", "jpeg-ls", "rle", "big endian", "implicit"],
)
def test_what_dcmtk_writes_decodes_to_the_same_values(tmp_path: Path, tool: str, options: list[str]) -> None:
    source = save(image(), tmp_path / "plain.dcm")
    written = tmp_path / "written.dcm"
    run(need(tool, "dcmtk"), *options, source, written)
    assert np.array_equal(decode(header.read(written)).values, decode(header.read(source)).values)


def test_jpeg_baseline_decodes_within_its_loss(tmp_path: Path) -> None:
    ds = image()
    values = (decode(ds).values >> 4).astype(np.uint8)
    set_pixels(ds, values)
    ds.BitsStored, ds.HighBit = 8, 7
    source, written = save(ds, tmp_path / "plain.dcm"), tmp_path / "lossy.dcm"
    run(need("dcmcjpeg", "dcmtk"), "+eb", "+q", "95", source, written)
    again = decode(header.read(written)).values
    assert again.dtype == np.uint8
    assert np.abs(again.astype(int) - values).mean() < 3


@pytest.mark.parametrize(("bits", "signed"), [(8, False), (8, True), (10, False), (12, True), (16, False), (16, True)])
def test_range_and_sign_come_from_the_header(bits: int, signed: bool) -> None:
    ds = image()
    low = -(1 << (bits - 1)) if signed else 0
    values = np.linspace(low, low + (1 << bits) - 1, 64 * 64).reshape(64, 64)
    set_pixels(ds, values.astype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}"))
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, bits - 1, int(signed)
    frame = decode(ds)
    assert frame.value_range == (low, low + (1 << bits) - 1)
    assert np.array_equal(frame.values, values.astype(frame.values.dtype))


def test_padding_is_read_with_its_range_in_either_order() -> None:
    ds = image()
    assert decode(ds).padding is None
    ds.PixelPaddingValue = 40
    assert decode(ds).padding == (40, 40)
    ds.PixelPaddingRangeLimit = 10
    assert decode(ds).padding == (10, 40)


def test_monochrome1_is_told() -> None:
    assert decode(image(inverted=True)).inverted
    assert not decode(image()).inverted


def test_a_broken_codestream_is_one_clear_failure() -> None:
    with pytest.raises(Undecodable, match="cannot be decoded"):
        decode(header.read(shared("dicom", "broken-j2k-codestream.dcm")))


def test_truncated_pixels_are_refused() -> None:
    ds = image()
    ds.PixelData = ds.PixelData[:1000]
    with pytest.raises(Undecodable, match="cannot be decoded"):
        decode(ds)


def test_values_beyond_bits_stored_are_refused() -> None:
    ds = image()
    ds.compress(JPEGLSLossless, generate_instance_uid=False)
    ds.BitsStored, ds.HighBit = 8, 7
    with pytest.raises(Undecodable, match=r"range 0 to 255|cannot be decoded"):
        decode(ds)


def test_a_high_bit_that_shifts_the_values_is_refused() -> None:
    ds = image()
    ds.HighBit = 15
    with pytest.raises(Undecodable, match="High Bit 15"):
        decode(ds)


def test_an_odd_pixel_data_length_decodes() -> None:
    ds = header.read(shared("dicom", "dx-fuji-8bit-odd-length.dcm"))
    assert decode(ds).values.shape == (ds.Rows, ds.Columns)


@pytest.mark.parametrize("content", [b"", b"not dicom", b"\0" * 128 + b"DICM"])
def test_a_file_that_is_no_dicom_is_unreadable(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(content)
    with pytest.raises(Unreadable):
        header.identity_of(header.read(path))


@pytest.mark.parametrize("uid", ["../../etc/x", "/abs", "1" * 65, "", "1..2", "1.2\0", "1.2.³"])
def test_a_uid_that_is_none_never_passes(uid: str) -> None:
    with pytest.raises(Unreadable, match="SOP Instance UID"):
        header.check_uid(uid, "SOP Instance UID")


def test_the_hash_is_of_the_data_set_alone(tmp_path: Path) -> None:
    ds = image()
    first = header.data_set_sha256(save(ds, tmp_path / "a.dcm"))
    ds.file_meta.ImplementationVersionName = "ANOTHER"
    assert header.data_set_sha256(save(ds, tmp_path / "b.dcm")) == first
    ds.PatientID = "OTHER"
    assert header.data_set_sha256(save(ds, tmp_path / "c.dcm")) != first


def changed(**values: object) -> Dataset:
    ds = image()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def test_a_radiograph_is_admitted() -> None:
    for modality in ("CR", "DX"):
        gate.admit(image(modality=modality))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"SOPClassUID": SecondaryCaptureImageStorage}, "not a radiograph"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1.1"}, "not a radiograph"),
        ({"ImageType": ["DERIVED", "SECONDARY", "", "AI_SUPERRES"]}, "already upscaled"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "for processing"),
        ({"NumberOfFrames": 2}, "multi-frame"),
        ({"SamplesPerPixel": 3}, "colour"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour"),
        ({"QualityControlImage": "YES"}, "quality control"),
        ({"Rows": 15}, "too small"),
        ({"EncryptedAttributesSequence": []}, "encrypted"),
    ],
)
def test_each_reason_to_skip_is_told(values: dict[str, object], reason: str) -> None:
    with pytest.raises(Skipped, match=reason):
        gate.admit(changed(**values))


def test_scale_auto_takes_the_largest_that_fits() -> None:
    model = Model(max_output_megapixels=64)
    assert gate.scale_for(2000, 2000, model, (4, 2)) == 4
    assert gate.scale_for(3000, 3000, model, (4, 2)) == 2
    with pytest.raises(Skipped, match="too large: 5000x5000 at x2 is 100 megapixels, the cap is 64"):
        gate.scale_for(5000, 5000, model, (4, 2))
    with pytest.raises(Skipped, match="too large"):
        gate.scale_for(3000, 3000, Model(scale=4), (4, 2))
    with pytest.raises(Skipped, match="too large"):
        gate.scale_for(20, 40000, Model(), (4, 2))


def test_real_files_are_admitted_or_skipped_as_they_should() -> None:
    for path in sorted(shared("dicom").glob("*.dcm")):
        ds = dcmread(path, stop_before_pixels=True)
        if path.name.startswith(("cr-", "dx-")):
            gate.admit(ds)
        elif path.name.startswith(("mg-", "sc-")):
            with pytest.raises(Skipped, match="not a radiograph"):
                gate.admit(ds)
