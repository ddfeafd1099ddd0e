"""Changing which weights are deployed, from the next image on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dicom_sr_node.actions.actor import Actor
from dicom_sr_node.audit.messages import AuditMessages
from dicom_sr_node.domain.errors import NotFound
from dicom_sr_node.store.database import Store
from dicom_sr_node.store.deployments import AS_CONFIGURED, CANARY, SHADOW
from dicom_sr_node.work.registry import AUTOMATIC, ModelRegistry


class DeploymentAction(StrEnum):
    """What can be done with weights."""

    ACTIVATE = "activate"
    ROLLBACK = "rollback"
    SHADOW = "shadow"
    CANARY = "canary"
    END_SHADOW = "end-shadow"
    END_CANARY = "end-canary"


_CONFIGURED = "What the configuration names"
_OF_WEIGHTS = (DeploymentAction.ACTIVATE, DeploymentAction.SHADOW, DeploymentAction.CANARY)


@dataclass(frozen=True)
class DeploymentOutcome:
    """What was done. name: of the weights; share: of all series, for a canary."""

    action: DeploymentAction
    name: str = ""
    share: float = 0.0

    @property
    def sentence(self) -> str:
        """For people."""
        match self.action:
            case DeploymentAction.ACTIVATE:
                return f"{self.name or _CONFIGURED} is active from the next image on."
            case DeploymentAction.ROLLBACK:
                return f"{self.name or _CONFIGURED} is active again from the next image on."
            case DeploymentAction.SHADOW:
                return f"{self.name} runs beside the active weights; its results stay here."
            case DeploymentAction.CANARY:
                return f"{self.name} makes {100 * self.share:g} % of all series."
            case DeploymentAction.END_SHADOW:
                return "No weights run as a shadow any more."
            case DeploymentAction.END_CANARY:
                return "No canary any more."


class ModelActions:
    """Changes deployments, under the name of whoever does it."""

    def __init__(self, store: Store, registry: ModelRegistry, audit: AuditMessages) -> None:
        self._store, self._registry, self._audit = store, registry, audit

    def act(self, action: DeploymentAction, actor: Actor, name: str = "", share: float = 0.0) -> DeploymentOutcome:
        """Raises NotFound for what is not there, NodeError for weights unlike their card."""
        if action in _OF_WEIGHTS:
            self._ensure_there(name, automatic=action == DeploymentAction.ACTIVATE)
        outcome = DeploymentOutcome(action, self._change(action, name, share), share)
        self._store.audit.add(self._audit.acted(actor.name, actor.address, outcome.sentence))
        return outcome

    def _change(self, action: DeploymentAction, name: str, share: float) -> str:
        """The name of the weights that it is about."""
        deployments = self._store.deployments
        match action:
            case DeploymentAction.ACTIVATE:
                deployments.activate(name)
            case DeploymentAction.ROLLBACK:
                return deployments.rollback()
            case DeploymentAction.SHADOW:
                deployments.shadow(name)
            case DeploymentAction.CANARY:
                deployments.canary(name, share)
            case DeploymentAction.END_SHADOW:
                deployments.end(SHADOW)
            case DeploymentAction.END_CANARY:
                deployments.end(CANARY)
        return name

    def _ensure_there(self, name: str, *, automatic: bool) -> None:
        """By name, never by path: all machines of a node must find them.

        automatic: AUTOMATIC and AS_CONFIGURED will do.
        """
        if automatic and name == AS_CONFIGURED:
            return
        known = self._registry.names()
        if name not in known and not (automatic and name == AUTOMATIC):
            raise NotFound(f"no weights {name!r}; known names: {', '.join(known)}; see `srnode models install`")
        self._registry.load(name, "cpu")
