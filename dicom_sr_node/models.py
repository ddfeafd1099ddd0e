"""The weights that a node can work with: those that came with this version, and those that were installed."""

from __future__ import annotations

from pathlib import Path

from dicom_sr_node import spool
from dicom_sr_node.errors import NodeError, NotFound
from model import checkpoint
from model.checkpoint import Card, CheckpointError
from model.upscaler import Upscaler, choose_device

AUTOMATIC = "auto"


class Shelf:
    """Weights by name. Installed ones lie in the spool, so that all machines of a node have them."""

    def __init__(self, spool_root: Path) -> None:
        self._folder = spool_root / "models"

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

    def load(self, name: str, device: str) -> Upscaler:
        """Ready to work; `auto` chooses by the device. Raises NodeError."""
        try:
            return Upscaler.load(str(self.find(self.resolve(name, device))), device)
        except (CheckpointError, ValueError) as error:
            raise NodeError(str(error)) from error

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
