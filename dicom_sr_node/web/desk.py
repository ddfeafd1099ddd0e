"""What every page and every REST call works with."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, field

from dicom_sr_node import audit
from dicom_sr_node.app import Store
from dicom_sr_node.models import Shelf
from dicom_sr_node.settings import Settings
from dicom_sr_node.spool import Spool
from dicom_sr_node.web.lightbox import Lightbox
from dicom_sr_node.web.throttle import Throttle

LOGINS, NAMES, LOGIN_WINDOW_S = 10, 50, 300.0  # tries of passwords from one address, and for one name
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
    seal: bytes = field(default_factory=lambda: secrets.token_bytes(32))  # of what pages tell each other

    @property
    def shelf(self) -> Shelf:
        """The weights there are."""
        return Shelf(self.settings.node.spool)

    def note(self, who: str, address: str, what: str, *, failed: bool = False) -> None:
        """Into the audit trail: somebody has done something, or was not let."""
        self.store.audit.add(audit.acted(self.settings, who, address, what, failed=failed))
