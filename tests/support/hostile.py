"""Files that nobody should send: damaged at random, and made to cost."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless
from support.images import image, save, set_pixels
from support.tools import shared


def mutated(folder: Path, each: int, seed: int) -> Iterator[bytes]:
    """`each` damaged versions of ten small files: bytes changed, cut out, put in; in header, codestream, anywhere."""
    random = np.random.default_rng(seed)
    for whole in _whole_files(folder):
        for _ in range(each):
            yield _mutation(whole, random)


def _whole_files(folder: Path) -> Iterator[bytes]:
    """One small image in each of four transfer syntaxes, 8 and 16 bit, and real ones with their oddities."""
    for depth in (8, 16):
        for syntax in (ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless):
            ds = image()
            if depth == 8:
                set_pixels(ds, (ds.pixel_array >> 4).astype(np.uint8))
                ds.BitsStored, ds.HighBit = 8, 7
            if syntax != ExplicitVRLittleEndian:
                ds.compress(syntax, generate_instance_uid=False)
            yield save(ds, folder / "whole.dcm").read_bytes()
    for name in ("dx-fuji-8bit-odd-length.dcm", "broken-j2k-codestream.dcm"):
        yield shared("dicom", name).read_bytes()


def _mutation(whole: bytes, random: np.random.Generator) -> bytes:
    content = bytearray(whole)
    for _ in range(int(random.integers(1, 8))):
        place = int(random.integers(132, max(133, len(content))))
        kind = int(random.integers(0, 5))
        if kind == 0:
            content[place : place + 1] = bytes([int(random.integers(0, 256))])
        elif kind == 1:
            del content[place : place + int(random.integers(1, 64))]
        elif kind == 2:
            content[place:place] = random.bytes(int(random.integers(1, 64)))
        elif kind == 3:
            content[place : place + 4] = b"\xff\xff\xff\xff"
        else:
            del content[place:]
    return bytes(content)


def siz(columns: int, rows: int) -> bytes:
    """The main header of a JPEG 2000 codestream that claims this size, 610 bytes in all."""
    size = struct.pack(">HHH8LH3B", 0xFF51, 41, 0, columns, rows, 0, 0, columns, rows, 0, 0, 1, 15, 1, 1)
    head = b"\xff\x4f" + size + b"\xff\x52\x00\x0c\x00\x00\x00\x01\x00\x05\x04\x04\x00\x01"
    rest = b"\xff\x5c\x00\x13\x40" + b"\x40" * 16 + b"\xff\x90\x00\x0a\x00\x00\x00\x00\x00\x00\x00\x01"
    return (head + rest).ljust(610, b"\xff")


def claiming(codestream: bytes, rows: int, columns: int) -> Dataset:
    """A JPEG 2000 image whose header says this size."""
    ds = image()
    ds.Rows, ds.Columns = rows, columns
    ds.PixelData = encapsulate([codestream])
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = JPEG2000Lossless
    return ds


def with_data_set(path: Path, content: bytes) -> Path:
    """A file whose data set is just these bytes."""
    whole = save(image(), path).read_bytes()
    path.write_bytes(whole[: data_set_start(whole)] + content)
    return path


def data_set_start(whole: bytes) -> int:
    """Where the data set of a file begins (PS3.10 7.1)."""
    return 144 + int.from_bytes(whole[140:144], "little")


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    """A short element in Explicit VR Little Endian."""
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def _nested(depth: int) -> bytes:
    sequence = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF)
    return (sequence + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)) * depth


COSTLY = {
    "a million elements": element(0x00091001, b"LO", b"") * 1_000_000,
    "a million elements before the identity": element(0x00080000, b"LO", b"") * 1_000_000,
    "nested a hundred thousand times": _nested(100_000),
    "an element of 4 GiB": struct.pack("<HH2sHL", 0x0008, 0x1140, b"OB", 0, 0xFFFFFFF0) + b"\0" * 100,
}
