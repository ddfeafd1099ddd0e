"""Telling a damaged file from a fault of our own.

pydicom converts elements when they are looked at, so damage shows anywhere, as many kinds of errors. What comes out
of a library that reads files is damage of the file; the same error raised in our own lines is a fault of ours, and must
never be told to a sender as a fault of his image.
"""

from __future__ import annotations

import re
import struct
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom.errors import BytesLengthException, InvalidDicomError

from dicom_sr_node.domain.errors import Unreadable

CANNOT_BE_USED = "the data set cannot be used"
_TAG = re.compile(r"\([0-9A-Fa-f]{4},[0-9A-Fa-f]{4}\)")
_HERE = Path(__file__).parents[1]  # our own package
_READERS = frozenset(["pydicom", "highdicom", "pylibjpeg", "openjpeg", "libjpeg", "rle", "jpeg_ls", "PIL"])

# What pydicom was seen to raise for damaged files; struct.error is what a cut number gives, RecursionError deep
# nesting, LookupError a character set that is a codec of another kind.
DAMAGE = (
    InvalidDicomError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    NotImplementedError,
    EOFError,
    struct.error,
    RecursionError,
    BytesLengthException,
)


def is_of_file(error: BaseException) -> bool:
    """Whether an error came out of a library that reads files, called from our lines."""
    frames = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    ours = [number for number, path in enumerate(frames) if path.is_relative_to(_HERE)]
    called = frames[ours[-1] + 1 :] if ours else frames
    return bool(called) and not _READERS.isdisjoint(called[0].parts)


@contextmanager
def usable() -> Iterator[None]:
    """Around the reading of elements: one that is missing, or of another kind than it must be, is a damaged file.

    Raises Unreadable; what is raised in our own lines passes as it is.
    """
    try:
        yield
    except DAMAGE as error:
        if not is_of_file(error):
            raise
        raise Unreadable(f"{CANNOT_BE_USED}: {without_values(error)}") from error
    except OSError as error:
        if error.errno is not None:  # of the disk, and not pydicom's "No tag to read"
            raise
        raise Unreadable(f"{CANNOT_BE_USED}: {without_values(error)}") from error


def without_values(error: BaseException) -> str:
    """The kind of an error and the element it names: its own words may quote a patient."""
    tags = dict.fromkeys(_TAG.findall(str(error)))
    return " ".join([type(error).__name__, *tags])
