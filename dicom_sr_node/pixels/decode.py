"""Data set -> Frame. Refuses what it cannot decode with the reason."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from dicom_sr_node.errors import Undecodable
from dicom_sr_node.pixels.frame import Frame
from dicom_sr_node.pixels.header import DAMAGE


def decode(ds: Dataset) -> Frame:
    """The frame of a single-frame grayscale image. Raises Undecodable."""
    bits = int(ds.get("BitsStored") or 0)
    if not 1 <= bits <= 16 or int(ds.get("BitsAllocated") or 0) not in (8, 16):
        raise Undecodable(
            f"Bits Allocated {ds.get('BitsAllocated')} and Bits Stored {bits}: only 8 and 16 allocated bits are served"
        )
    if int(ds.get("HighBit", bits - 1)) != bits - 1:
        raise Undecodable(f"High Bit {ds.HighBit} with Bits Stored {bits}: only values in the lowest bits are served")
    try:
        values = ds.pixel_array
    except (*DAMAGE, RuntimeError, MemoryError, OSError) as error:
        raise Undecodable(f"the pixel data cannot be decoded: {type(error).__name__}: {_first_line(error)}") from error
    if values.shape != (ds.Rows, ds.Columns):
        raise Undecodable(f"the pixel data has shape {values.shape}, the header says {(ds.Rows, ds.Columns)}")
    signed = int(ds.get("PixelRepresentation") or 0) == 1
    low = -(1 << (bits - 1)) if signed else 0
    value_range = (low, low + (1 << bits) - 1)
    _check(values, value_range)
    return Frame(values, value_range, _padding(ds, signed), ds.PhotometricInterpretation == "MONOCHROME1")


def _check(values: NDArray[np.generic], value_range: tuple[int, int]) -> None:
    if values.min() < value_range[0] or values.max() > value_range[1]:
        raise Undecodable(
            f"stored values {values.min()} to {values.max()} leave the range "
            f"{value_range[0]} to {value_range[1]} of Bits Stored"
        )


def _padding(ds: Dataset, signed: bool) -> tuple[int, int] | None:
    """Pixel Padding Value and Range Limit, in either order (PS3.3 C.7.5.1.1.2)."""
    value = ds.get("PixelPaddingValue")
    if value is None or value == "":
        return None
    limit = ds.get("PixelPaddingRangeLimit")
    ends = sorted(_number(end, signed) for end in (value, value if limit in (None, "") else limit))
    return ends[0], ends[1]


def _number(value: object, signed: bool) -> int:
    """The VR of these elements depends on Pixel Representation.

    Files that were read as bytes or with the wrong sign occur.
    """
    if isinstance(value, bytes):
        return int.from_bytes(value[:2], "little", signed=signed)
    number = int(str(value))
    return number - 65536 if signed and number > 32767 else number


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else "no further word"
