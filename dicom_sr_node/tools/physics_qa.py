"""`srnode models qa`: the physics suite, run on weights as the node would serve them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dicom_sr_node import spool
from dicom_sr_node.domain.errors import NodeError
from dicom_sr_node.pixels.pictures import PICTURES, read_picture
from dicom_sr_node.tools import phantom
from model import checkpoint
from model.physics import suite
from model.upscaler import Upscaler

_RINGS = 12  # radiographs that the ring correlation is measured on
_SIDE = 512  # pixels of them at most


def examine(upscaler: Upscaler, data: Path | None, progress: Callable[[str], None]) -> suite.Examination:
    """Run the physics suite. data: a folder of pictures (PNG, JPEG, TIFF). Raises NodeError."""
    try:
        if data is None:
            drawn = [phantom.draw(_SIDE, seed=seed) for seed in range(2)]
            return suite.examine(upscaler, drawn, "chests drawn by formula", progress)
        return suite.examine(upscaler, _radiographs(data), f"radiographs in {data.name}", progress)
    except suite.NoVerdict as error:
        raise NodeError(f"no verdict: {error}") from error


def prove(weights: Path, examination: suite.Examination) -> None:
    """Put the figures into the card beside a weights file."""
    spool.write(weights.with_suffix(".json"), checkpoint.updated(weights, physics=examination.as_dict()).encode())


def _radiographs(folder: Path) -> list[NDArray[Any]]:
    """The middles of a few radiographs in a folder, at their own resolution. Raises NodeError."""
    pictures = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)
    if not pictures:
        raise NodeError(f"--data {folder}: there is no picture ({', '.join(PICTURES)})")
    return [_middle(read_picture(path)) for path in pictures[:: max(1, len(pictures) // _RINGS)]]


def _middle(values: NDArray[Any]) -> NDArray[Any]:
    top, left = (max(0, (length - _SIDE) // 2) for length in values.shape)
    return values[top : top + _SIDE, left : left + _SIDE]
