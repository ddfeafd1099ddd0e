"""What a role has for itself while it runs."""

from __future__ import annotations

from dataclasses import dataclass

from dicom_sr_node.spool import Spool
from dicom_sr_node.store.database import Store


@dataclass(frozen=True)
class RoleContext:
    """The tables, a corner of the spool, and the name that this process is known by everywhere."""

    store: Store
    spool: Spool
    name: str
