"""Derived objects as files: JPEG-LS lossless for those who take it, plain for all others, the same values in both.

JPEG-LS and not JPEG 2000: a few percent larger on derived images, but written and read several times as fast, and
dcmtk and Orthanc read it without a plugin (measured by `make bench`).
"""

from __future__ import annotations

from io import BytesIO

from pydicom import DataElement, Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless

from dicom_sr_node.dicom.damage import usable
from dicom_sr_node.dicom.elements import pixel_data
from dicom_sr_node.pixels.decode import decode

COMPRESSED = JPEGLSLossless
_PLUGIN = "pyjpegls"


def is_compressed(ds: Dataset) -> bool:
    """Whether a data set of ours is not plain."""
    return bool(ds.file_meta.TransferSyntaxUID == COMPRESSED)


def make_plain(ds: Dataset) -> None:
    """Turn a data set of ours into Explicit VR Little Endian, in place. Raises Undecodable."""
    if not is_compressed(ds):
        return
    ds["PixelData"] = pixel_data(decode(ds).values)
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian


def plain(ds: Dataset) -> bytes:
    """A file in Explicit VR Little Endian; changes a compressed data set. Raises Undecodable."""
    make_plain(ds)
    return _written(ds)


def compressed(ds: Dataset) -> bytes:
    """A file in JPEG-LS lossless; plain where the codec cannot give the very same bytes back (tiny images).

    ds: in Explicit VR Little Endian, with pixels; is changed.
    """
    if ds.get("SamplesPerPixel") != 1:
        return _written(ds)  # heat maps are small, reports have no pixels
    raw, vr, cells = ds.PixelData, ds["PixelData"].VR, (ds.BitsStored, ds.HighBit)
    if _needs_whole_cells(ds):
        ds.BitsStored, ds.HighBit = ds.BitsAllocated, ds.BitsAllocated - 1
    try:
        ds.compress(COMPRESSED, encoding_plugin=_PLUGIN, generate_instance_uid=False)  # else it is another instance
        same = _decoded(ds) == raw[: ds.Rows * ds.Columns * ds.BitsAllocated // 8]
    except RuntimeError:
        same = False
    ds.BitsStored, ds.HighBit = cells
    if not same:
        ds["PixelData"] = DataElement("PixelData", vr, raw)
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return _written(ds)


def _needs_whole_cells(ds: Dataset) -> bool:
    """JPEG-LS knows no sign, and fewer bits than a byte's or word's are read wrongly by some.

    The bits above Bits Stored are then coded too: dcmdjpls and Orthanc show such images rightly only so.
    """
    return bool(ds.PixelRepresentation == 1 or ds.BitsStored < 8 or ds.BitsStored <= 8 < ds.BitsAllocated)


def _decoded(ds: Dataset) -> bytes:
    array, _ = get_decoder(COMPRESSED).as_array(ds, raw=True, decoding_plugin=_PLUGIN)
    pixels: bytes = array.tobytes()
    return pixels


def _written(ds: Dataset) -> bytes:
    stream = BytesIO()
    with usable():
        ds.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
