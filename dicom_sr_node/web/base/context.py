"""What every page and every REST call works with."""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass, field

from fastapi import Request

from dicom_sr_node.actions.actor import Actor
from dicom_sr_node.actions.images import ImageActions
from dicom_sr_node.actions.models import ModelActions
from dicom_sr_node.audit.messages import AuditMessages
from dicom_sr_node.config.settings import Settings
from dicom_sr_node.monitor.health import Health, examine
from dicom_sr_node.runtime.throttle import Throttle
from dicom_sr_node.spool import Spool
from dicom_sr_node.store.accounts import Person
from dicom_sr_node.store.database import Store
from dicom_sr_node.web.viewer.lightbox import Lightbox
from dicom_sr_node.work.registry import ModelRegistry, registry_for

LOGINS, NAMES, LOGIN_WINDOW_S = 10, 50, 300.0  # tries of passwords from one address, and for one name
_FRESH_S = 1.0
REQUESTS, REQUEST_WINDOW_S = 3000, 60.0  # for each address


@dataclass
class AppContext:
    """The settings, the tables, the files, and who has asked how often."""

    settings: Settings
    store: Store
    spool: Spool
    lightbox: Lightbox
    logins: Throttle = field(default_factory=lambda: Throttle(LOGINS, LOGIN_WINDOW_S))
    names: Throttle = field(default_factory=lambda: Throttle(NAMES, LOGIN_WINDOW_S))
    requests: Throttle = field(default_factory=lambda: Throttle(REQUESTS, REQUEST_WINDOW_S))
    alarms: Throttle = field(default_factory=lambda: Throttle(1, LOGIN_WINDOW_S))  # of refused logins, for each address
    uploading: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(2))
    trying: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(2))
    showing: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(4))  # planes on their way
    _looking: threading.Lock = field(default_factory=threading.Lock)
    _looked: tuple[float, Health | None] = (0.0, None)
    seal: bytes = field(default_factory=lambda: secrets.token_bytes(32))  # of what pages tell each other

    @property
    def registry(self) -> ModelRegistry:
        """The weights there are."""
        return registry_for(self.settings.node, self.settings.model)

    @property
    def audit(self) -> AuditMessages:
        """The audit trail's words for this node."""
        return AuditMessages(self.settings.node.ae_title, enabled=self.settings.audit.enabled)

    @property
    def image_actions(self) -> ImageActions:
        """What can be done to images."""
        return ImageActions(self.store, self.audit, Spool(self.settings.node.spool, "web"))

    @property
    def model_actions(self) -> ModelActions:
        """What can be done with weights."""
        return ModelActions(self.store, self.registry, self.audit)

    def health(self) -> Health:
        """As it was at most a second ago: however many look at once, it is looked up once."""
        with self._looking:
            at, known = self._looked
            if known is None or time.monotonic() - at > _FRESH_S:
                known = examine(self.settings, self.store)
                self._looked = (time.monotonic(), known)
            return known

    def note(self, who: str, address: str, what: str, *, failed: bool = False) -> None:
        """Into the audit trail: somebody has done something, or was not let."""
        self.store.audit.add(self.audit.acted(who, address, what, failed=failed))


def context_of(request: Request) -> AppContext:
    """What the application works with."""
    context: AppContext = request.app.state.context
    return context


def actor_of(request: Request, person: Person) -> Actor:
    """Whoever asks, for actions."""
    return Actor(person.name, request.client.host if request.client else "")
