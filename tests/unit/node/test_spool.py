"""Files appear whole or not at all, and one slot has one process."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from dicom_sr_node import retention
from dicom_sr_node.domain.errors import AlreadyRunning
from dicom_sr_node.runtime import locks
from dicom_sr_node.spool import Spool, write


class OutputsOf:
    def __init__(self, *names: str) -> None:
        self._names = set(names)

    def files(self) -> set[str]:
        return self._names


def test_a_kept_file_has_its_bytes_its_hash_and_a_name_of_ours(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "receive")
    draft = spool.draft("in")
    draft.write(b"head", hashed=False)
    draft.write(b"bo")
    draft.write(b"dy")
    assert spool.names("in") == set()
    stored = draft.keep()
    assert spool.path("in", stored.name).read_bytes() == b"headbody"
    assert stored.sha256 == hashlib.sha256(b"body").hexdigest()
    assert stored.bytes == 8
    assert len(stored.name) == 32
    assert int(stored.name, 16) >= 0


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "receive")

    def breaks() -> object:
        yield b"half"
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        spool.keep("in", breaks())  # type: ignore[arg-type]
    assert not [path for path in spool.root.rglob("*") if path.is_file()]


def test_file_and_folder_are_synced_in_the_right_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path, "receive")
    order: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def watched_fsync(descriptor: int) -> None:
        order.append("folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "file")
        fsync(descriptor)

    def watched_rename(self: Path, target: Path) -> Path:
        order.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "rename", watched_rename)
    spool.keep("in", [b"x"])
    assert order == ["file", "rename", "folder"]


def test_sweep_removes_only_what_this_slot_left(tmp_path: Path) -> None:
    mine, other = Spool(tmp_path, "work-0"), Spool(tmp_path, "work-1")
    for spool in (mine, other):
        spool.tmp.mkdir(parents=True)
    (mine.tmp / "left").write_bytes(b"x")
    (other.tmp / "busy").write_bytes(b"x")
    assert mine.sweep() == 1
    assert (other.tmp / "busy").exists()


def test_only_old_files_without_a_row_leave_the_outbox(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "receive")
    kept, orphan, young = (spool.keep("outbox", [b"x"]).name for _ in range(3))
    for name in (kept, orphan):
        os.utime(spool.path("outbox", name), (0, 0))
    assert retention.sweep_outbox(spool, OutputsOf(kept)) == 1  # type: ignore[arg-type]
    assert spool.names("outbox") == {kept, young}


def test_what_is_written_replaces_the_target_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "b"
    write(target, b"old and longer")
    write(target, b"new")
    assert target.read_bytes() == b"new"
    assert [path.name for path in target.parent.iterdir()] == ["b"]


def test_a_slot_has_one_holder(tmp_path: Path) -> None:
    first = locks.take(tmp_path, "serve")
    with pytest.raises(AlreadyRunning, match="another `serve`"):
        locks.take(tmp_path, "serve")
    first.free()
    locks.take(tmp_path, "serve").free()


def test_a_role_that_may_run_several_times_takes_the_first_free_slot(tmp_path: Path) -> None:
    slots = [locks.take_any(tmp_path, "work") for _ in range(3)]
    assert [slot.name for slot in slots] == ["work-0", "work-1", "work-2"]
    slots[1].free()
    again = locks.take_any(tmp_path, "work")
    assert again.name == "work-1"
    for slot in (slots[0], slots[2], again):
        slot.free()
