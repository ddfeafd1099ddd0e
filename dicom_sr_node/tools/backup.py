"""Backup and restore: the database and every file it refers to, consistent with each other.

FOLDER/backup.json      version, schema revision, number of rows, sha256 of the rows
FOLDER/database.jsonl   every row of every table, as of one moment
FOLDER/in, outbox       the files

A file never changes once it has a name, so a second backup into the same folder copies only what is new. Purge waits
while a backup runs: what the rows refer to stays until it is copied.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicom_sr_node import __version__
from dicom_sr_node.domain.errors import NodeError, NotFound
from dicom_sr_node.retention import PURGE_LOCK, PURGE_PATIENCE_S
from dicom_sr_node.runtime import locks
from dicom_sr_node.spool import PLACES, Place, Spool, sync_folder, write
from dicom_sr_node.store import dump
from dicom_sr_node.store import engine as database
from dicom_sr_node.store.database import Store
from dicom_sr_node.store.invariants import File

_MANIFEST, _ROWS = "backup.json", "database.jsonl"


@dataclass(frozen=True)
class BackupSummary:
    """What a backup or restore did."""

    rows: int
    files: int
    missing: list[str]


def backup(store: Store, spool: Spool, folder: Path) -> BackupSummary:
    """Into a new folder, or one that holds an earlier backup. Raises NodeError, OSError."""
    if folder.exists() and any(folder.iterdir()) and not (folder / _MANIFEST).is_file():
        raise NodeError(f"{folder} is not empty and holds no backup: name another folder")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = locks.take(spool.root, PURGE_LOCK, PURGE_PATIENCE_S)
    try:
        count, digest = _write_rows(store, folder / f"{_ROWS}.part")
        missing: list[str] = []
        received, derived = _files(folder / f"{_ROWS}.part")
        for place, files in zip(PLACES, (received, derived), strict=True):
            missing += _copy_all(spool, place, files, folder)
        (folder / f"{_ROWS}.part").rename(folder / _ROWS)
        sync_folder(folder)
        manifest = {
            "version": __version__,
            "revision": database.revision(store.engine)[0],
            "rows": count,
            "sha256": digest,
        }
        write(folder / _MANIFEST, json.dumps(manifest, indent=2).encode())
    finally:
        lock.free()
    return BackupSummary(count, len(received) + len(derived) - len(missing), missing)


def restore(store: Store, spool: Spool, folder: Path) -> BackupSummary:
    """Into an empty database and spool. Files first: a row never stands without its file. Raises NodeError, OSError."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFound(f"{folder} holds no backup: there is no {_MANIFEST}") from None
    database.upgrade(store.engine)
    if manifest["revision"] != database.revision(store.engine)[0]:
        raise NodeError(
            f"the backup was made by version {manifest['version']} with another schema: restore it with that version, "
            "then install this one"
        )
    with (folder / _ROWS).open("rb") as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest() != manifest["sha256"]:
            raise NodeError(f"{folder / _ROWS} is not what was written: another sha256")
    if next(dump.rows(store.engine), None) is not None:
        raise NodeError("the database is not empty: restore into a new one (node.data_dir, database.url)")
    missing: list[str] = []
    count = 0
    for place, files in zip(PLACES, _files(folder / _ROWS), strict=True):
        for file in files:
            source = folder / place / file.name
            if not source.is_file() or source.stat().st_size != file.bytes:
                missing.append(f"{place}/{file.name}")
                continue
            _copy(source, spool.path(place, file.name))
            count += 1
        sync_folder(spool.root / place)
    return BackupSummary(dump.load(store.engine, _read_rows(folder / _ROWS)), count, missing)


def _write_rows(store: Store, path: Path) -> tuple[int, str]:
    digest, count = hashlib.sha256(), 0
    with path.open("wb") as file:
        for name, row in dump.rows(store.engine):
            line = json.dumps([name, row]).encode() + b"\n"
            file.write(line)
            digest.update(line)
            count += 1
        file.flush()
        os.fsync(file.fileno())
    return count, digest.hexdigest()


def _read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open("rb") as file:
        for line in file:
            name, row = json.loads(line)
            yield name, row


def _files(rows: Path) -> tuple[list[File], list[File]]:
    """The files that the rows refer to, received and derived."""
    received: dict[int, File] = {}
    job_of: dict[int, int] = {}
    derived: list[File] = []
    for name, row in _read_rows(rows):
        if name == "instance" and not row["purged_at"]:
            received[row["id"]] = File(row["file"], row["bytes"], row["sha256"], f"image {row['id']}")
        elif name == "job":
            job_of[row["id"]] = row["instance_id"]
        elif name == "output" and job_of[row["job_id"]] in received:
            derived.append(File(row["file"], row["bytes"], row["sha256"], f"output {row['id']}"))
    return list(received.values()), derived


def _copy_all(spool: Spool, place: Place, files: list[File], folder: Path) -> list[str]:
    """Copy what is not there yet; returns what could not be."""
    target = folder / place
    target.mkdir(exist_ok=True, mode=0o700)
    missing = []
    for file in files:
        copy = target / file.name
        if copy.is_file() and copy.stat().st_size == file.bytes:
            continue
        try:
            _copy(spool.path(place, file.name), copy)
        except FileNotFoundError:
            missing.append(f"{place}/{file.name} ({file.whose})")
    sync_folder(target)
    return missing


def _copy(source: Path, target: Path) -> None:
    written = target.with_name(f".{target.name}.part")
    with source.open("rb") as file, written.open("wb") as copy:
        shutil.copyfileobj(file, copy, 1 << 20)
        copy.flush()
        os.fsync(copy.fileno())
    written.rename(target)
