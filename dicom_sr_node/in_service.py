"""Changing which weights are in service, from the next image on: one way for commands, pages and REST."""

from __future__ import annotations

from enum import StrEnum

from dicom_sr_node.errors import NotFound
from dicom_sr_node.models import AUTOMATIC, Shelf
from dicom_sr_node.store.service import AS_CONFIGURED, CANARY, SHADOW, Service


class ModelAct(StrEnum):
    """What can be done."""

    ACTIVATE = "activate"
    ROLLBACK = "rollback"
    SHADOW = "shadow"
    CANARY = "canary"
    END_SHADOW = "end-shadow"
    END_CANARY = "end-canary"


_CONFIGURED = "What the configuration names"
_OF_WEIGHTS = (ModelAct.ACTIVATE, ModelAct.SHADOW, ModelAct.CANARY)


def change(service: Service, shelf: Shelf, act: ModelAct, name: str = "", share: float = 0.0) -> str:
    """What was done, in words. Raises NotFound for what is not there, NodeError for weights unlike their card."""
    if act in _OF_WEIGHTS:
        _ensure_there(shelf, name, automatic=act == ModelAct.ACTIVATE)
    match act:
        case ModelAct.ACTIVATE:
            service.activate(name)
            return f"{name or _CONFIGURED} is active from the next image on."
        case ModelAct.ROLLBACK:
            return f"{service.rollback() or _CONFIGURED} is active again from the next image on."
        case ModelAct.SHADOW:
            service.shadow(name)
            return f"{name} runs beside the active weights; its results stay here."
        case ModelAct.CANARY:
            service.canary(name, share)
            return f"{name} makes {100 * share:g} % of all series."
        case ModelAct.END_SHADOW:
            service.end(SHADOW)
            return "No weights run as a shadow any more."
        case ModelAct.END_CANARY:
            service.end(CANARY)
            return "No canary any more."


def _ensure_there(shelf: Shelf, name: str, *, automatic: bool) -> None:
    """By name, never by path: all machines of a node must find them. automatic: AUTOMATIC and AS_CONFIGURED will do."""
    if automatic and name == AS_CONFIGURED:
        return
    known = shelf.names()
    if name not in known and not (automatic and name == AUTOMATIC):
        raise NotFound(f"no weights {name!r}; known names: {', '.join(known)}; see `srnode models install`")
    shelf.load(name, "cpu")
