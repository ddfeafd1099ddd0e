"""What every page and every REST call works with."""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass, field

from dicom_sr_node import audit, condition
from dicom_sr_node.app import Store
from dicom_sr_node.condition import Condition
from dicom_sr_node.models import Shelf
from dicom_sr_node.settings import Settings
from dicom_sr_node.spool import Spool
from dicom_sr_node.web.lightbox import Lightbox
from dicom_sr_node.web.throttle import Throttle

LOGINS, NAMES, LOGIN_WINDOW_S = 10, 50, 300.0  # tries of passwords from one address, and for one name
_FRESH_S = 1.0
REQUESTS, REQUEST_WINDOW_S = 3000, 60.0  # for each address


@dataclass
class Desk:
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
    _looked: tuple[float, Condition | None] = (0.0, None)
    seal: bytes = field(default_factory=lambda: secrets.token_bytes(32))  # of what pages tell each other

    @property
    def shelf(self) -> Shelf:
        """The weights there are."""
        return Shelf(self.settings.node.spool, unproven=self.settings.model.unproven)

    def condition(self) -> Condition:
        """As it was at most a second ago: however many look at once, it is looked up once."""
        with self._looking:
            at, found = self._looked
            if found is None or time.monotonic() - at > _FRESH_S:
                found = condition.look(self.settings, self.store)
                self._looked = (time.monotonic(), found)
            return found

    def note(self, who: str, address: str, what: str, *, failed: bool = False) -> None:
        """Into the audit trail: somebody has done something, or was not let."""
        self.store.audit.add(audit.acted(self.settings, who, address, what, failed=failed))
