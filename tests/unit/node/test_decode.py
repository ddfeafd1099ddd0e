"""From a data set to a frame: every syntax the same values, every oddity a reason."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGExtended12Bit, JPEGLSLossless, RLELossless
from support.images import image, save, set_pixels
from support.tools import need, run, shared

from dicom_sr_node.dicom import header
from dicom_sr_node.domain.errors import Undecodable, Unreadable
from dicom_sr_node.pixels import codestream
from dicom_sr_node.pixels.decode import decode


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless], ids=lambda uid: uid.name)
def test_lossless_syntaxes_decode_to_the_same_values(tmp_path: Path, syntax: str) -> None:
    plain = image()
    expected = decode(plain).values
    packed = image()
    packed.compress(syntax, generate_instance_uid=False)
    again = header.read(save(packed, tmp_path / "packed.dcm"))
    assert again.file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(decode(again).values, expected)


DCMTK = {
    "jpeg lossless sv1": ("dcmcjpeg", ["+e1"]),
    "jpeg lossless": ("dcmcjpeg", ["+el"]),
    "jpeg-ls": ("dcmcjpls", []),
    "rle": ("dcmcrle", []),
    "big endian": ("dcmconv", ["+tb"]),
    "implicit": ("dcmconv", ["+ti"]),
}


@pytest.mark.parametrize(("tool", "options"), DCMTK.values(), ids=DCMTK)
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
    with pytest.raises(Undecodable, match="cannot be decoded: it has 1000 bytes, 64x64 at 16 bits need 8192"):
        decode(ds)


def test_values_beyond_bits_stored_are_refused() -> None:
    ds = image()
    ds.compress(JPEGLSLossless, generate_instance_uid=False)
    ds.BitsStored, ds.HighBit = 8, 7
    with pytest.raises(Undecodable, match="beyond the 8 bits of Bits Stored"):
        decode(ds)


def with_cells(words: np.ndarray, *, stored: int, high_bit: int, signed: bool = False) -> FileDataset:
    """A data set whose pixel cells are these 16-bit words."""
    ds = image()
    set_pixels(ds, words.astype(np.uint16))
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = stored, high_bit, int(signed)
    return ds


def full_range(bits: int) -> np.ndarray:
    """(64, 64) with every value of so many bits, the lowest and the highest among them."""
    return np.linspace(0, (1 << bits) - 1, 64 * 64).astype(np.int64).reshape(64, 64)


def by_dcmtk(path: Path, bits: int) -> np.ndarray:
    """The pixels of an image that uses its whole range, as dcmtk's dcm2pnm reads them, (H, W)."""
    target = path.with_suffix(".pgm")
    run(need("dcm2pnm", "dcmtk"), "+opn", str(bits), path, target)
    lines = [line for line in target.read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "P2"
    columns, rows, _, *values = map(int, " ".join(lines[1:]).split())
    return np.array(values).reshape(rows, columns)


@pytest.mark.parametrize(("stored", "high_bit"), [(12, 15), (12, 13), (10, 9), (9, 15), (16, 15)])
def test_a_value_lies_below_high_bit_and_other_bits_are_none_of_it(tmp_path: Path, stored: int, high_bit: int) -> None:
    values = full_range(stored)
    junk = np.random.default_rng(1).integers(0, 1 << 16, values.shape)
    used = ((1 << stored) - 1) << (high_bit + 1 - stored)
    ds = with_cells((values << (high_bit + 1 - stored)) | (junk & ~used & 0xFFFF), stored=stored, high_bit=high_bit)
    assert np.array_equal(decode(ds).values, values)
    assert np.array_equal(by_dcmtk(save(ds, tmp_path / "a.dcm"), stored), values)


def test_a_signed_value_below_a_high_bit_keeps_its_sign() -> None:
    values = full_range(12) - 2048
    frame = decode(with_cells((values & 0xFFF) << 4, stored=12, high_bit=15, signed=True))
    assert frame.value_range == (-2048, 2047)
    assert np.array_equal(frame.values, values)


@pytest.mark.parametrize("stored", [0, 17])
def test_an_impossible_cell_is_refused_with_its_numbers(stored: int) -> None:
    with pytest.raises(Undecodable, match=f"Bits Stored {stored}"):
        decode(with_cells(full_range(8), stored=stored, high_bit=15))


@pytest.mark.parametrize("high_bit", [0, 10, 16, None])
def test_an_impossible_high_bit_means_the_lowest_bits(high_bit: int | None) -> None:
    ds = with_cells(full_range(12), stored=12, high_bit=11)
    ds.HighBit = high_bit
    assert np.array_equal(decode(ds).values, full_range(12))


def test_bits_stored_that_is_missing_is_bits_allocated() -> None:
    ds = with_cells(full_range(16), stored=16, high_bit=15)
    del ds.BitsStored
    assert decode(ds).value_range == (0, 65535)


def test_of_several_padding_values_the_first_counts() -> None:
    ds = image()
    ds.PixelPaddingValue = [7, 9]
    assert decode(ds).padding == (7, 7)


def test_an_overlay_in_unused_bits_is_found(tmp_path: Path) -> None:
    plane = np.random.default_rng(2).integers(0, 2, (64, 64))
    ds = with_cells(full_range(12) | plane << 13, stored=12, high_bit=11)
    for element, vr, value in ((0x0010, "US", 64), (0x0011, "US", 64), (0x0100, "US", 16), (0x0102, "US", 13)):
        ds.add_new((0x6002, element), vr, value)
    frame = decode(ds)
    assert np.array_equal(frame.values, full_range(12))
    assert set(frame.overlays) == {0x6002}
    assert np.array_equal(frame.overlays[0x6002], plane.astype(bool))


def test_bytes_beyond_the_image_are_ignored_and_missing_ones_told() -> None:
    ds = image()
    expected = decode(ds).values
    ds.PixelData = ds.PixelData + b"\1\2\3\4" * 100
    assert np.array_equal(decode(ds).values, expected)
    ds.PixelData = ds.PixelData[: 64 * 64 * 2 - 2]
    with pytest.raises(Undecodable, match="8190 bytes, 64x64 at 16 bits need 8192"):
        decode(ds)


def test_eight_bits_in_big_endian_words_are_put_in_order(tmp_path: Path) -> None:
    ds = image()
    set_pixels(ds, full_range(8).astype(np.uint8))
    ds.BitsStored, ds.HighBit = 8, 7
    little, big = save(ds, tmp_path / "little.dcm"), tmp_path / "big.dcm"
    run(need("dcmconv", "dcmtk"), "+tb", little, big)
    assert np.array_equal(decode(header.read(big)).values, full_range(8))


def test_encapsulated_pixels_under_an_uncompressed_syntax_are_told(tmp_path: Path) -> None:
    ds = image()
    ds.compress(JPEG2000Lossless, generate_instance_uid=False)
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    with pytest.raises(Undecodable, match="encapsulated, but the transfer syntax is Explicit VR Little Endian"):
        decode(ds)


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_one_image_in_all_lossless_codecs_is_one_frame(tmp_path: Path, bits: int, signed: bool) -> None:
    ds = image()
    values = full_range(bits) - (1 << (bits - 1)) * signed
    set_pixels(ds, values.astype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}"))
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, bits - 1, int(signed)
    plain = save(ds, tmp_path / "plain.dcm")
    hashes = {"plain": decode(header.read(plain)).sha256}
    for syntax in (JPEG2000Lossless, JPEGLSLossless, RLELossless):
        packed = dcmread(plain)
        packed.compress(syntax, generate_instance_uid=False)
        hashes[syntax.name] = decode(header.read(save(packed, tmp_path / "packed.dcm"))).sha256
    for tool, options in DCMTK.values():
        written = tmp_path / "written.dcm"
        run(need(tool, "dcmtk"), *options, plain, written)
        hashes[f"{tool} {options}"] = decode(header.read(written)).sha256
    assert len(set(hashes.values())) == 1, hashes


def twelve_bit_jpeg(tmp_path: Path) -> Path:
    written = tmp_path / "extended.dcm"
    run(need("dcmcjpeg", "dcmtk"), "+ee", "+q", "95", save(image(128), tmp_path / "plain.dcm"), written)
    assert header.read(written).file_meta.TransferSyntaxUID == JPEGExtended12Bit
    return written


@pytest.mark.parametrize("scan", ["as written", "said to end at coefficient 0"])
def test_twelve_bit_jpeg_decodes_as_dcmtk_does(tmp_path: Path, scan: str) -> None:
    written, expected = twelve_bit_jpeg(tmp_path), tmp_path / "decoded.dcm"
    run(need("dcmdjpeg", "dcmtk"), written, expected)
    ds = header.read(written)
    if scan != "as written":
        frame = codestream.frame_of(ds)
        place = frame.index(b"\xff\xda") + 7
        assert frame[place : place + 2] == b"\0\x3f"
        ds.PixelData = encapsulate([frame[: place + 1] + b"\0" + frame[place + 2 :]])
    found = decode(ds).values.astype(int)
    assert np.abs(found - decode(header.read(expected)).values).max() <= 1
    assert np.ptp(found) > 1000


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless], ids=lambda uid: uid.name)
def test_a_codestream_of_another_size_is_refused_before_it_is_decoded(
    syntax: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ds = image()
    ds.compress(syntax, generate_instance_uid=False)
    monkeypatch.setattr("dicom_sr_node.pixels.decode._run_decoder", lambda *a: pytest.fail("it was decoded"))
    ds.Rows = 65
    with pytest.raises(Undecodable, match="the codestream is 64x64 with 1 component"):
        decode(ds)


@pytest.mark.parametrize("share", [0.3, 0.9, 0.995])
@pytest.mark.parametrize("codec", ["j2k", "jpeg-ls", "rle", "jpeg lossless sv1", "jpeg extended"])
def test_a_codestream_that_is_cut_off_is_refused(tmp_path: Path, codec: str, share: float) -> None:
    path = save(image(256), tmp_path / "whole.dcm")
    if codec in ("j2k", "jpeg-ls", "rle"):
        ds = dcmread(path)
        ds.compress(
            {"j2k": JPEG2000Lossless, "jpeg-ls": JPEGLSLossless, "rle": RLELossless}[codec], generate_instance_uid=False
        )
        save(ds, path)
    else:
        run(need("dcmcjpeg", "dcmtk"), "+ee" if codec == "jpeg extended" else "+e1", path, tmp_path / "packed.dcm")
        path = tmp_path / "packed.dcm"
    ds = header.read(path)
    decode(ds)
    frame = codestream.frame_of(ds)
    ds.PixelData = encapsulate([frame[: int(len(frame) * share)]])
    with pytest.raises(Undecodable):
        decode(ds)


@pytest.mark.parametrize("cut", [4, 30, 60])
def test_a_codestream_cut_within_its_header_is_told(cut: int) -> None:
    ds = image()
    ds.compress(JPEG2000Lossless, generate_instance_uid=False)
    ds.PixelData = encapsulate([codestream.frame_of(ds)[:cut]])
    with pytest.raises(Undecodable):
        decode(ds)


@pytest.mark.parametrize("head", [(1, 64), (3, 64, 70, 80), (2, 64, 64), (2, 64, 9999), (2, 70, 80)])
def test_rle_segments_that_cannot_be_are_refused(head: tuple[int, ...]) -> None:
    ds = image()
    ds.compress(RLELossless, generate_instance_uid=False)
    frame = codestream.frame_of(ds)
    ds.PixelData = encapsulate([struct.pack("<16L", *head, *([0] * (16 - len(head)))) + frame[64:]])
    with pytest.raises(Undecodable, match="RLE"):
        decode(ds)


def test_an_odd_pixel_data_length_decodes() -> None:
    ds = header.read(shared("dicom", "dx-fuji-8bit-odd-length.dcm"))
    assert decode(ds).values.shape == (ds.Rows, ds.Columns)


@pytest.mark.parametrize("content", [b"", b"not dicom", b"\0" * 128 + b"DICM"])
def test_a_file_that_is_no_dicom_is_unreadable(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(content)
    with pytest.raises(Unreadable):
        header.read(path)
    with pytest.raises(Unreadable):
        header.read_identity(path)


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
