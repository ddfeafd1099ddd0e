"""What compressed pixel data says of itself, read before any decoder sees it: a lie in a header must cost nothing."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from pydicom import Dataset
from pydicom.encaps import get_frame
from pydicom.uid import UID, JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes, JPEGTransferSyntaxes

from dicom_sr_node.domain.errors import Undecodable

CODESTREAMS = (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes, *JPEG2000TransferSyntaxes)

_SOF55 = 0xF7  # JPEG-LS
_START_OF_FRAME = {*range(0xC0, 0xD0), _SOF55} - {0xC4, 0xC8, 0xCC}  # not the tables DHT, JPG and DAC
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_SEQUENTIAL_DCT = {0xC0, 0xC1}


@dataclass(frozen=True)
class Codestream:
    """The header of a JPEG, JPEG-LS or JPEG 2000 codestream."""

    rows: int
    columns: int
    components: int
    bits: int  # precision of one component


def frame_of(ds: Dataset) -> bytes:
    """The encoded bytes of a single-frame image, all its fragments joined. Raises Undecodable."""
    try:
        return bytes(get_frame(ds.PixelData, 0, number_of_frames=1))
    except (ValueError, struct.error, IndexError, TypeError) as error:
        raise Undecodable(f"the fragments of the pixel data cannot be followed: {error}") from error


def read(frame: bytes, syntax: UID) -> Codestream:
    """The codestream's own header. Raises Undecodable."""
    try:
        stream = _jpeg_2000(frame) if syntax in JPEG2000TransferSyntaxes else _jpeg(frame)
    except (struct.error, IndexError) as error:
        raise Undecodable("the codestream ends within its own header") from error
    if stream is None:
        raise Undecodable(f"the pixel data is no {syntax.name} codestream")
    return stream


def check_end(frame: bytes, syntax: UID) -> None:
    """JPEG and JPEG-LS end with a marker; decoders make up what is missing without a word. Raises Undecodable.

    JPEG 2000 may end early by design, and its decoder tells when it ends too early.
    """
    if syntax not in JPEG2000TransferSyntaxes and b"\xff\xd9" not in frame.rstrip(b"\0")[-64:]:
        raise Undecodable("the codestream is cut off: it has no end marker")


def check_rle(frame: bytes, bytes_per_pixel: int) -> None:
    """The RLE header: one segment for each byte of a pixel, each within the data (PS3.5 G.5). Raises Undecodable."""
    if len(frame) < 64:
        raise Undecodable("the RLE data is shorter than its header")
    count, *offsets = struct.unpack("<16L", frame[:64])
    if count != bytes_per_pixel:
        raise Undecodable(f"the RLE data has {count} segments, {8 * bytes_per_pixel} bits need {bytes_per_pixel}")
    starts = [*offsets[:count], len(frame)]
    if starts[0] != 64 or any(first >= second for first, second in pairwise(starts)):
        raise Undecodable(f"the RLE segments start at {offsets[:count]} of {len(frame)} bytes")


def with_whole_scan(frame: bytes) -> bytes:
    """A sequential JPEG whose scan says that it ends at coefficient 0, made to say 63, which is what it holds.

    Early 12-bit encoders wrote 0 (NEMA's WG04 images are such); decoders refuse it (ISO 10918-1 B.2.3).
    """
    sequential = False
    for marker, start in _segments(frame):
        sequential = sequential or marker in _SEQUENTIAL_DCT
        if marker == _START_OF_SCAN and sequential:
            selection = start + 3 + 2 * frame[start + 2]  # after the length and the components of the scan
            if frame[selection : selection + 2] == b"\0\0":
                return frame[:selection] + b"\0\x3f" + frame[selection + 2 :]
    return frame


def _segments(frame: bytes) -> Iterator[tuple[int, int]]:
    """(marker, offset of what follows it) for each segment up to the first scan."""
    if frame[:2] != b"\xff\xd8":
        return
    position = 2
    while position + 4 <= len(frame):
        if frame[position] != 0xFF:
            return
        marker = frame[position + 1]
        position += 2
        if marker == 0xFF:  # a fill byte: the marker follows
            position -= 1
            continue
        yield marker, position
        if marker in (_START_OF_SCAN, _END_OF_IMAGE):
            return
        if marker not in _WITHOUT_LENGTH:
            position += int.from_bytes(frame[position : position + 2], "big")


def _jpeg(frame: bytes) -> Codestream | None:
    for marker, start in _segments(frame):
        if marker in _START_OF_FRAME:
            bits, rows, columns, components = struct.unpack(">xxBHHB", frame[start : start + 8])
            return Codestream(rows, columns, components, bits)
    return None


def _jpeg_2000(frame: bytes) -> Codestream | None:
    """SIZ follows SOC at once (ISO 15444-1 A.5.1); some writers leave the boxes of a JP2 file around it."""
    start = frame.find(b"\xff\x4f\xff\x51", 0, 4096)
    if start < 0:
        return None
    right, bottom, left, top = struct.unpack(">4L", frame[start + 8 : start + 24])
    components, depth = struct.unpack(">HB", frame[start + 40 : start + 43])
    return Codestream(bottom - top, right - left, components, (depth & 0x7F) + 1)
