"""The checks on pixels: size, instance, label, block means, padding."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileDataset

from dicom_sr_node.derive import identity, label
from dicom_sr_node.derive.identity import Algorithm
from dicom_sr_node.pixels.frame import Frame
from dicom_sr_node.verify.check import Verification
from model.consistency import block_sums

_LABELLED = re.compile(r"Label burned into (rows \d+-\d+, columns \d+-\d+)\.")


def pixel_checks(
    derived: FileDataset, source: FileDataset, result: Frame, original: Frame, algorithm: Algorithm
) -> Iterator[Verification]:
    """All that needs the decoded pixels of both."""
    scale = algorithm.scale
    size = (source.Rows * scale, source.Columns * scale)
    same_size = (derived.Rows, derived.Columns) == size
    yield Verification(
        "size", same_size, f"{derived.Columns}x{derived.Rows}, source {source.Columns}x{source.Rows}, scale {scale}"
    )
    yield _instance_check(derived, source, original, algorithm)
    if not same_size:
        return
    yield _label_check(derived, source, result.values, original, scale)
    sums, outside = block_sums(result.values, scale), _outside(label_box(derived, scale), original, scale)
    yield _block_check(sums, original, outside, scale)
    yield _mean_check(sums, original, outside, scale)
    yield _padding_check(result.values, original, scale)


def _instance_check(derived: FileDataset, source: FileDataset, original: Frame, algorithm: Algorithm) -> Verification:
    uids = (str(derived.SOPInstanceUID), str(derived.file_meta.get("MediaStorageSOPInstanceUID")))
    expected = identity.sop_instance_uid(source, original, algorithm)
    detail = (
        "function of source, its pixels and weights" if uids == (expected, expected) else f"{uids}, expected {expected}"
    )
    return Verification("instance UID", uids == (expected, expected), detail)


def label_box(derived: Dataset, scale: int) -> label.Box | None:
    """Where a burned label lies, or None."""
    if not _LABELLED.search(str(derived.get("DerivationDescription") or "")):
        return None
    return label.draw((derived.Rows, derived.Columns), scale)[0]


def _label_check(derived: Dataset, source: Dataset, result: NDArray[Any], original: Frame, scale: int) -> Verification:
    """The label covers just its box, and every pixel of it is what the label says."""
    box = label_box(derived, scale)
    if box is None:
        return Verification("label", True, "none burned in")
    expected = result.copy()
    label.burn(expected, scale, source, original)
    labelled = _LABELLED.search(str(derived.DerivationDescription))
    wrong = int((expected != result).sum())
    passed = wrong == 0 and labelled is not None and labelled[1] == str(box)
    return Verification(
        "label", passed, f"{box}, excluded from the block means; {wrong} pixels differ from the label's own"
    )


def _outside(box: label.Box | None, original: Frame, scale: int) -> NDArray[np.bool_]:
    """(H, W): the blocks that no label covers."""
    outside = np.ones(original.values.shape, np.bool_)
    if box is not None:
        outside[box.top // scale : box.bottom // scale, box.left // scale : box.right // scale] = False
    return outside


def _block_check(sums: NDArray[np.int64], original: Frame, outside: NDArray[np.bool_], scale: int) -> Verification:
    wrong = (sums != original.values.astype(np.int64) * scale**2) & outside
    count, blocks = int(wrong.sum()), wrong.size
    if not count:
        return Verification(
            "block means", True, f"{blocks} blocks of {scale}x{scale} average to the source's stored value"
        )
    row, column = (int(index[0]) for index in np.nonzero(wrong))
    return Verification(
        "block means",
        False,
        f"{count} of {blocks} blocks differ, the first at source row {row + 1}, column {column + 1}",
    )


def _mean_check(sums: NDArray[np.int64], original: Frame, outside: NDArray[np.bool_], scale: int) -> Verification:
    """What a region of interest over the whole image measures, without the label."""
    theirs = int(original.values[outside].sum(dtype=np.int64))
    ours = int(sums[outside].sum())
    count = max(1, int(outside.sum()))
    means = theirs / count, ours / (count * scale**2)
    return Verification(
        "mean", ours == theirs * scale**2, f"stored value {means[0]:.4f} in the source, {means[1]:.4f} here"
    )


def _padding_check(result: NDArray[Any], original: Frame, scale: int) -> Verification:
    if original.padding is None:
        return Verification("padding", True, "the source declares none")
    first, last = original.padding
    theirs = original.is_padding
    ours = (result >= first) & (result <= last)
    blocks = block_sums(ours.astype(np.uint8), scale)
    stray = int(((blocks > 0) & ~theirs).sum())
    return Verification(
        "padding", stray == 0, f"{int(theirs.sum())} padding pixels, {stray} blocks with stray padding values"
    )
