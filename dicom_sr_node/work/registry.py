"""The weights that a node can work with: those that came with this version, and those that were installed."""

from __future__ import annotations

from pathlib import Path

from dicom_sr_node import spool
from dicom_sr_node.config.node import NodeSettings
from dicom_sr_node.config.working import ModelSettings
from dicom_sr_node.domain.errors import NodeError, NotFound
from model import backends, checkpoint
from model.checkpoint import Card, CheckpointError
from model.upscaler import Upscaler

AUTOMATIC = "auto"


class ModelRegistry:
    """Weights by name. Installed ones lie in the spool, so that all machines of a node have them."""

    def __init__(self, spool_root: Path, *, unproven: bool = False, backend: str = backends.DEFAULT) -> None:
        """unproven: weights that have not passed the physics suite may be loaded. backend: what runs them."""
        self._folder = spool_root / "models"
        self._unproven, self._backend = unproven, backend

    def names(self) -> list[str]:
        """Of all weights, without their loading."""
        return sorted({*checkpoint.available(), *checkpoint.available(self._folder)})

    def cards(self) -> list[Card]:
        """Of all weights that have a readable card."""
        cards = []
        for name in self.names():
            try:
                cards.append(checkpoint.read_card(self.find(name)))
            except (CheckpointError, NotFound):
                continue
        return cards

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
        return backends.backend(self._backend).default_name(device) if name == AUTOMATIC else name

    def load(self, name: str, device: str, precision: str = "auto") -> Upscaler:
        """Ready to work; `auto` chooses by the device. Raises NodeError."""
        try:
            path = self.find(self.resolve(name, device))
            upscaler = Upscaler.load(str(path), device, precision, self._backend)
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


def registry_for(node: NodeSettings, model: ModelSettings, *, unproven: bool | None = None) -> ModelRegistry:
    """The weights of a node as it is configured; unproven: instead of what the configuration says of them."""
    allowed = model.unproven if unproven is None else unproven
    return ModelRegistry(node.spool, unproven=allowed, backend=model.backend)
