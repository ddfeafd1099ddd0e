"""Data set -> Frame. Refuses what it cannot decode with the reason.

Pixel cells are read as PS3.5 8.1.1 says: the lowest Bits Stored bits below High Bit are the value, the others are
none of it (they may hold overlay planes, retired in PS3.3 C.9.2).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.multival import MultiValue
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
    UncompressedTransferSyntaxes,
)

from dicom_sr_node.dicom import header
from dicom_sr_node.dicom.damage import DAMAGE
from dicom_sr_node.dicom.header import OVERLAY_GROUPS, first
from dicom_sr_node.domain.errors import Undecodable
from dicom_sr_node.pixels import codestream
from dicom_sr_node.pixels.frame import Frame

_WORD = 1 << 16
_STRICT = {  # decoders that refuse damaged data; the one that pydicom falls back to fills in what is missing
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    JPEGBaseline8Bit: "pillow",
}
Words = NDArray[Any]  # (H, W) pixel cells as unsigned integers


class _Cell(NamedTuple):
    """The shape of an image, and how a value lies in its pixel cell."""

    rows: int
    columns: int
    allocated: int
    stored: int
    high_bit: int
    signed: bool


def decode(ds: Dataset) -> Frame:
    """The frame of a single-frame grayscale image.

    Raises Undecodable, and what `damage.usable` catches for elements of the wrong kind.
    """
    cell = _cell(ds)
    syntax = ds.file_meta.TransferSyntaxUID
    coded, width = syntax in codestream.CODESTREAMS, cell.allocated
    if coded:
        words, width = _coded(ds, cell)
    else:
        words = _rle(ds, cell) if syntax == RLELossless else _native(ds, cell)
    overlays = _overlays(ds, words, cell)
    values = _values(words, cell, width)
    if coded and not overlays and not _same_numbers(words, values, cell):
        raise Undecodable(
            f"the codestream holds values up to {words.max()}, beyond the {cell.stored} bits of Bits Stored"
        )
    low = -(1 << (cell.stored - 1)) if cell.signed else 0
    return Frame(
        values,
        (low, low + (1 << cell.stored) - 1),
        _padding(ds, cell.signed),
        first(ds, "PhotometricInterpretation").strip() == "MONOCHROME1",
        len(ds.PixelData),
        overlays,
    )


def _cell(ds: Dataset) -> _Cell:
    """What is missing is taken as the commonest; an impossible High Bit as that of values in the lowest bits."""
    allocated = header.number(ds, "BitsAllocated")
    stored = header.number(ds, "BitsStored", allocated)
    if allocated not in (8, 16) or not 1 <= stored <= allocated:
        raise Undecodable(f"Bits Allocated {allocated}, Bits Stored {stored}: no cell of 8 or 16 bits holds that")
    high_bit = header.number(ds, "HighBit", stored - 1)
    if not stored - 1 <= high_bit < allocated:
        high_bit = stored - 1
    rows, columns = header.number(ds, "Rows"), header.number(ds, "Columns")
    return _Cell(rows, columns, allocated, stored, high_bit, header.number(ds, "PixelRepresentation") == 1)


def _native(ds: Dataset, cell: _Cell) -> Words:
    """Uncompressed pixels; more bytes than the image needs are ignored, fewer are a truncated image."""
    syntax = ds.file_meta.TransferSyntaxUID
    if syntax not in UncompressedTransferSyntaxes:
        raise Undecodable(f"no decoder for the transfer syntax {syntax.name}")
    if ds["PixelData"].is_undefined_length:
        raise Undecodable(f"the pixel data is encapsulated, but the transfer syntax is {syntax.name}")
    raw, count = ds.PixelData, cell.rows * cell.columns
    if len(raw) * 8 < count * cell.allocated:
        raise Undecodable(
            f"the pixel data cannot be decoded: it has {len(raw)} bytes, "
            f"{cell.columns}x{cell.rows} at {cell.allocated} bits need {count * cell.allocated // 8}"
        )
    big_endian = not syntax.is_little_endian
    if cell.allocated == 16:
        words = np.frombuffer(raw, ">u2" if big_endian else "<u2", count).astype(np.uint16)
    else:
        words = np.frombuffer(raw, np.uint8)
        if big_endian and ds["PixelData"].VR == "OW":  # pairs of bytes were swapped as words
            words = words[: len(words) // 2 * 2].reshape(-1, 2)[:, ::-1].ravel()
        words = words[:count]
    return words.reshape(cell.rows, cell.columns)


def _rle(ds: Dataset, cell: _Cell) -> Words:
    frame = codestream.frame_of(ds)
    codestream.check_rle(frame, cell.allocated // 8)
    return _run_decoder(ds, frame, cell)


def _coded(ds: Dataset, cell: _Cell) -> tuple[Words, int]:
    """JPEG, JPEG-LS, JPEG 2000: the cells and their bits.

    What the codestream says of itself is held against the header before it is decoded.
    """
    syntax = ds.file_meta.TransferSyntaxUID
    frame = codestream.frame_of(ds)
    stream = codestream.read(frame, syntax)
    if (stream.rows, stream.columns, stream.components) != (cell.rows, cell.columns, 1):
        raise Undecodable(
            f"the codestream is {stream.columns}x{stream.rows} with {stream.components} component(s), "
            f"the header says {cell.columns}x{cell.rows} with 1"
        )
    codestream.check_end(frame, syntax)
    if stream.bits > cell.allocated:
        raise Undecodable(f"the codestream has {stream.bits} bits for a pixel, Bits Allocated is {cell.allocated}")
    if syntax == JPEGExtended12Bit:
        frame = codestream.with_whole_scan(frame)
    signed = cell.signed and syntax in JPEG2000TransferSyntaxes  # the others code bare bits
    coded = cell._replace(allocated=8 if stream.bits <= 8 else 16, stored=stream.bits, signed=signed)
    return _run_decoder(ds, frame, coded), stream.bits


def _run_decoder(ds: Dataset, frame: bytes, cell: _Cell) -> Words:
    options: dict[str, Any] = {
        "rows": cell.rows,
        "columns": cell.columns,
        "number_of_frames": 1,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        "bits_allocated": cell.allocated,
        "bits_stored": cell.stored,
        "pixel_representation": int(cell.signed),
        "pixel_keyword": "PixelData",
    }
    syntax = ds.file_meta.TransferSyntaxUID
    if syntax in _STRICT:
        options["decoding_plugin"] = _STRICT[syntax]
    try:
        array, _ = get_decoder(syntax).as_array(encapsulate([frame], has_bot=False), raw=True, index=0, **options)
    except (*DAMAGE, RuntimeError, MemoryError, OSError) as error:
        raise Undecodable(f"the pixel data cannot be decoded: {type(error).__name__}: {_short(error)}") from error
    if array.shape != (cell.rows, cell.columns):
        raise Undecodable(f"the pixel data has shape {array.shape}, the header says {(cell.rows, cell.columns)}")
    words: Words = np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")
    return words


def _values(words: Words, cell: _Cell, width: int) -> NDArray[Any]:
    """Cells of `width` bits -> stored values, in a type of Bits Allocated."""
    wide = words.astype(np.int32)
    if width > cell.high_bit:  # else a codestream that holds the value alone
        wide >>= cell.high_bit + 1 - cell.stored
    wide &= (1 << cell.stored) - 1
    if cell.signed:
        sign = 1 << (cell.stored - 1)
        wide = (wide ^ sign) - sign
    return wide.astype(f"{'i' if cell.signed else 'u'}{cell.allocated // 8}")


def _same_numbers(words: Words, values: NDArray[Any], cell: _Cell) -> bool:
    """Whether nothing was cut off: the cell is the value alone, as a number or as the bits of a signed one."""
    mask = (1 << cell.stored) - 1
    cut = values.astype(np.int32)
    return bool(np.all((words == (cut & mask)) | (words == (cut & ((1 << 8 * words.dtype.itemsize) - 1)))))


def _overlays(ds: Dataset, words: Words, cell: _Cell) -> dict[int, NDArray[np.bool_]]:
    """Planes that lie in the unused bits of the pixel cells (PS3.3 C.9.2, retired)."""
    overlays = {}
    for group in OVERLAY_GROUPS:
        position = header.number(ds, (group, 0x0102))
        if not position or (group, 0x3000) in ds or (group, 0x0010) not in ds:
            continue
        used = range(cell.high_bit + 1 - cell.stored, cell.high_bit + 1)
        if 0 < position < 8 * words.dtype.itemsize and position not in used:
            overlays[group] = ((words >> position) & 1).astype(np.bool_)
    return overlays


def _padding(ds: Dataset, signed: bool) -> tuple[int, int] | None:
    """Pixel Padding Value and Range Limit, in either order (PS3.3 C.7.5.1.1.2); None if they are no such numbers."""
    value = ds.get("PixelPaddingValue")
    if value is None or value == "":
        return None
    limit = ds.get("PixelPaddingRangeLimit")
    try:
        ends = sorted(_number(end, signed) for end in (value, value if limit in (None, "") else limit))
    except ValueError:
        return None
    return (ends[0], ends[1]) if -_WORD <= ends[0] <= ends[1] < _WORD else None


def _number(value: object, signed: bool) -> int:
    """The VR of these elements depends on Pixel Representation.

    Files that were read as bytes or with the wrong sign occur.
    """
    if isinstance(value, bytes):
        return int.from_bytes(value[:2], "little", signed=signed)
    number = int(str(value[0] if isinstance(value, MultiValue | list) and value else value))
    return number - 65536 if signed and number > 32767 else number


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or "no further word"
