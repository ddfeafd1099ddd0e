"""The weights that a node can work with: those that came with this version, and those that were installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dicom_sr_node import phantom, spool
from dicom_sr_node.errors import NodeError, NotFound
from dicom_sr_node.pictures import PICTURES, read_picture
from model import checkpoint
from model.checkpoint import Card, CheckpointError
from model.physics import suite
from model.upscaler import Upscaler, choose_device

AUTOMATIC = "auto"
_RINGS = 12  # radiographs that the ring correlation is measured on
_SIDE = 512  # pixels of them at most


class Shelf:
    """Weights by name. Installed ones lie in the spool, so that all machines of a node have them."""

    def __init__(self, spool_root: Path, *, unproven: bool = False) -> None:
        """unproven: weights that have not passed the physics suite may be loaded."""
        self._folder = spool_root / "models"
        self._unproven = unproven

    def names(self) -> list[str]:
        """Of all weights, without their loading."""
        return sorted({*checkpoint.available(), *checkpoint.available(self._folder)})

    def cards(self) -> list[Card]:
        """Of all weights that have a readable card."""
        found = []
        for name in self.names():
            try:
                found.append(checkpoint.read_card(self.find(name)))
            except (CheckpointError, NotFound):
                continue
        return found

    def find(self, name: str) -> Path:
        """The weights file of a name or path. Raises NotFound."""
        installed = self._folder / f"{Path(name).name}{checkpoint.SUFFIX}"
        if installed.is_file() and installed.stem == name:
            return installed
        try:
            return checkpoint.find(name)
        except CheckpointError:
            known = ", ".join(self.names())
            raise NotFound(f"no weights {name!r}; known names: {known}; see `srnode models install`") from None

    def resolve(self, name: str, device: str) -> str:
        """The name of the weights that a name means on a device: AUTOMATIC is no name of weights."""
        return checkpoint.default_name(choose_device(device)) if name == AUTOMATIC else name

    def load(self, name: str, device: str, precision: str = "auto") -> Upscaler:
        """Ready to work; `auto` chooses by the device. Raises NodeError."""
        try:
            upscaler = Upscaler.load(str(self.find(self.resolve(name, device))), device, precision)
        except (CheckpointError, ValueError) as error:
            raise NodeError(str(error)) from error
        if upscaler.card.unproven and not self._unproven:
            raise NodeError(
                f"{upscaler.card.identity} is not served: {upscaler.card.unproven}; run "
                f"`srnode models qa {name} --write`, choose other weights, or set "
                "model.unproven = true, which every result will say"
            )
        return upscaler

    def install(self, weights: Path) -> Card:
        """Take weights and their card; a name is never given twice. Raises NodeError, OSError."""
        try:
            _, card = checkpoint.load(weights)
        except (CheckpointError, OSError) as error:
            raise NodeError(f"{weights} cannot be installed: {error}") from error
        if not card.name or card.name != Path(card.name).name or card.name in (".", "..", AUTOMATIC):
            raise NodeError(f"the card of {weights} has the name {card.name!r}, which no file can have")
        if card.name in self.names():
            known = checkpoint.read_card(self.find(card.name))
            if known.sha256 == card.sha256:
                return known
            raise NodeError(
                f"there are other weights named {card.name!r} ({known.identity}): export these under another name, "
                "so that results can be told apart"
            )
        target = self._folder / f"{card.name}{checkpoint.SUFFIX}"
        spool.write(target.with_suffix(".json"), weights.with_suffix(".json").read_bytes())
        spool.write(target, weights.read_bytes())
        return card


def examine(upscaler: Upscaler, data: Path | None, progress: Callable[[str], None]) -> suite.Examination:
    """Run the physics suite. data: a folder of pictures (PNG, JPEG, TIFF). Raises NodeError."""
    try:
        if data is None:
            drawn = [phantom.draw(_SIDE, seed=seed) for seed in range(2)]
            return suite.examine(upscaler, drawn, "chests drawn by formula", progress)
        return suite.examine(upscaler, _radiographs(data), f"radiographs in {data.name}", progress)
    except suite.NoVerdict as error:
        raise NodeError(f"no verdict: {error}") from error


def prove(weights: Path, found: suite.Examination) -> None:
    """Put the figures into the card beside a weights file."""
    spool.write(weights.with_suffix(".json"), checkpoint.updated(weights, physics=found.as_dict()).encode())


def _radiographs(folder: Path) -> list[NDArray[Any]]:
    """The middles of a few radiographs in a folder, at their own resolution. Raises NodeError."""
    pictures = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)
    if not pictures:
        raise NodeError(f"--data {folder}: there is no picture ({', '.join(PICTURES)})")
    return [_middle(read_picture(path)) for path in pictures[:: max(1, len(pictures) // _RINGS)]]


def _middle(values: NDArray[Any]) -> NDArray[Any]:
    top, left = (max(0, (length - _SIDE) // 2) for length in values.shape)
    return values[top : top + _SIDE, left : left + _SIDE]
