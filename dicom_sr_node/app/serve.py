"""All roles of one machine, each a process of its own that is started again when it dies."""

from __future__ import annotations

from pathlib import Path
from threading import Event

from sqlalchemy.exc import SQLAlchemyError

from dicom_sr_node.app import roles
from dicom_sr_node.app.receive import Reload
from dicom_sr_node.config.settings import Settings
from dicom_sr_node.runtime import failpoints, locks, log
from dicom_sr_node.runtime.process_supervisor import ProcessSupervisor
from dicom_sr_node.store import engine as database
from dicom_sr_node.store.database import open_store


def role_names(settings: Settings) -> list[str]:
    """What `srnode serve` starts."""
    return ["receive", "work", "deliver", *(["web"] if settings.web.enabled else [])]


def serve(settings: Settings, config: Path | None, stop: Event, reload: Reload) -> int:
    """All roles, each a process of its own that is started again when it dies; returns the exit code."""
    failpoints.arm()
    roles.lock_for(settings, "serve")
    store = open_store(settings.node, settings.database)
    database.upgrade(store.engine)

    def changed() -> list[str] | None:
        """The roles of another configuration, when there is one that needs no new start of everything."""
        nonlocal settings
        new = reload()
        if new is None:
            return None
        if (new.node.data_dir, new.node.spool, new.database) != (
            settings.node.data_dir,
            settings.node.spool,
            settings.database,
        ):
            log.get("serve").error("node.data_dir, node.spool_dir and database.url change with a restart only")
            return None
        settings = new
        return role_names(new)

    def alive() -> set[int]:
        """Our processes that have begun their work."""
        prefix = f"{locks.node_id(settings.node.data_dir)}/"
        try:
            processes = [one for one in store.processes.ls() if one["name"].startswith(prefix)]
        except SQLAlchemyError:
            return set()
        return {one["pid"] for one in processes if roles.NOT_LOADED not in one["note"]}

    return ProcessSupervisor(role_names(settings), config, changed, alive).run(stop)
