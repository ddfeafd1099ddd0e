"""Derived objects as files: JPEG-LS gives the same values to every reader, and the identity never changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless
from support.images import image, save, set_pixels
from support.tools import dciodvfy_errors, need, run

from dicom_sr_node.derive import encoding
from dicom_sr_node.dicom import header
from dicom_sr_node.pixels.decode import decode

CELLS = [(8, 8, False), (8, 6, False), (16, 8, False), (16, 7, True), (16, 10, False), (16, 12, True), (16, 16, True)]


def of(allocated: int, stored: int, signed: bool, size: tuple[int, int] = (61, 63)) -> FileDataset:
    """Noise over the whole range of these cells, of odd size."""
    ds = image()
    low = -(1 << (stored - 1)) if signed else 0
    values = np.random.default_rng(stored).integers(low, low + (1 << stored), size)
    set_pixels(ds, values.astype(f"{'i' if signed else 'u'}{allocated // 8}"))
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = stored, stored - 1, int(signed)
    return ds


@pytest.mark.parametrize(("allocated", "stored", "signed"), CELLS)
def test_every_kind_of_cell_comes_back_from_every_reader(
    tmp_path: Path, allocated: int, stored: int, signed: bool
) -> None:
    plain, packed, by_dcmtk = tmp_path / "plain.dcm", tmp_path / "packed.dcm", tmp_path / "dcmtk.dcm"
    plain.write_bytes(encoding.plain(of(allocated, stored, signed)))
    packed.write_bytes(encoding.compressed(of(allocated, stored, signed)))
    expected, found = dcmread(plain), dcmread(packed)
    assert found.file_meta.TransferSyntaxUID == JPEGLSLossless
    for keyword in ("SOPInstanceUID", "BitsStored", "HighBit", "PixelRepresentation", "LossyImageCompression"):
        assert found[keyword].value == expected[keyword].value, keyword
    assert np.array_equal(decode(found).values, decode(expected).values)
    run(need("dcmdjpls", "dcmtk"), packed, by_dcmtk)
    assert dcmread(by_dcmtk).PixelData == expected.PixelData
    assert dciodvfy_errors(packed) == dciodvfy_errors(plain)


@pytest.mark.parametrize(("allocated", "stored", "signed"), CELLS)
def test_plain_undoes_compressed_byte_for_byte(tmp_path: Path, allocated: int, stored: int, signed: bool) -> None:
    packed = tmp_path / "packed.dcm"
    packed.write_bytes(encoding.compressed(of(allocated, stored, signed)))
    assert encoding.plain(header.read(packed)) == encoding.plain(of(allocated, stored, signed))


def test_what_the_codec_cannot_do_stays_plain(tmp_path: Path) -> None:
    tiny = tmp_path / "tiny.dcm"
    tiny.write_bytes(encoding.compressed(of(16, 12, False, size=(1, 1))))
    assert dcmread(tiny).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert np.array_equal(decode(dcmread(tiny)).values, decode(of(16, 12, False, size=(1, 1))).values)


def test_a_radiograph_becomes_smaller() -> None:
    ds = image(256)
    assert len(encoding.compressed(image(256))) < 0.6 * len(encoding.plain(ds))


def test_other_objects_stay_plain(tmp_path: Path) -> None:
    colour = image()
    colour.SamplesPerPixel = 3
    target = tmp_path / "colour.dcm"
    target.write_bytes(encoding.compressed(colour))
    assert dcmread(save(dcmread(target), target)).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
