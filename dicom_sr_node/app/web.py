"""The dashboard, the REST interface and what monitoring asks."""

from __future__ import annotations

from threading import Event

from dicom_sr_node.app import roles
from dicom_sr_node.config.settings import Settings
from dicom_sr_node.web.base.context import AppContext
from dicom_sr_node.web.server import serve
from dicom_sr_node.web.viewer.lightbox import Lightbox


def web(settings: Settings, stop: Event, patience_s: float = 0.0) -> None:
    """Raises NodeError."""
    lock = roles.lock_for(settings, "web", patience_s)
    with roles.running(settings, lock, f"dashboard on {settings.web.url}") as role:
        role.spool.sweep()
        serve(AppContext(settings, role.store, role.spool, Lightbox()), stop)
