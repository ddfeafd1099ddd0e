"""`srnode send`: files to a peer, as they are, over one association."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dicom_sr_node.config.destinations import Peer
from dicom_sr_node.dicom import header
from dicom_sr_node.domain.errors import DeliveryError, NotFound, PeerUnreachable, Unreadable
from dicom_sr_node.network import associations, c_store
from dicom_sr_node.network.associations import Context
from dicom_sr_node.network.local_entity import LocalEntity

MOST_CONTEXTS = 128  # presentation contexts in one association, PS3.8 9.3.2.2


def send_files(entity: LocalEntity, peer: Peer, paths: Iterable[Path]) -> list[dict[str, Any]]:
    """One row for each file: file, sent, note.

    Raises NotFound where there is none, DeliveryError without an association.
    """
    files = _files(paths)
    if not files:
        raise NotFound("no file was given")
    rows: list[dict[str, Any]] = []
    contexts: dict[Path, Context] = {}
    for path in files:
        try:
            contexts[path] = c_store.context_of(path)
        except (Unreadable, OSError) as error:
            rows.append({"file": str(path), "sent": False, "note": str(error)})
    offered = list(dict.fromkeys(contexts.values()))[:MOST_CONTEXTS]
    if offered:
        with associations.association(entity, peer, offered) as assoc:
            for path in contexts:
                try:
                    rows.append({"file": str(path), "sent": True, "note": c_store.send(assoc, header.read(path), peer)})
                except PeerUnreachable:
                    raise
                except (DeliveryError, Unreadable, OSError) as error:
                    rows.append({"file": str(path), "sent": False, "note": str(error)})
    return rows


def _files(paths: Iterable[Path]) -> list[Path]:
    return [
        file
        for path in paths
        for file in (sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path])
    ]
