"""The watched folder: nothing is removed before it is safe, nothing is taken half."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import cast

import pytest
from support.images import image, save
from support.node import Node, Outbox
from support.tools import started, wait_until

from dicom_sr_node.domain.records import Identity, JobState, Origin
from dicom_sr_node.receive.watched_folder import CALLER, WatchedFolder


def watched(outbox: Outbox, folder: Path) -> WatchedFolder:
    return WatchedFolder(folder, outbox.spool, most_bytes=1 << 20, reserve_mb=0)


def with_two_files(tmp_path: Path) -> tuple[Outbox, Path, WatchedFolder]:
    """a.dcm and b.dcm, images 1 and 2, that nobody has looked at yet."""
    outbox = Outbox.of(Node.configure(tmp_path).settings)
    folder = tmp_path / "incoming"
    look = watched(outbox, folder)
    folder.mkdir()
    for number, name in enumerate("ab", start=1):
        save(image(32, number=number), folder / f"{name}.dcm")
    return outbox, folder, look


def test_a_file_that_is_put_there_is_upscaled_and_removed(tmp_path: Path) -> None:
    folder = tmp_path / "incoming"
    more = f'[watch]\nfolder = "{folder}"\n[[rules]]\nname = "folder"\nmatch.calling_ae = ["WATCHED_FOLDER"]\n'
    node = Node.configure(tmp_path, more=more)
    with started(node):
        wait_until(folder.is_dir, 20, "the folder")
        (folder / "deep").mkdir()
        save(image(48, number=1), folder / "deep" / "a.dcm")
        (folder / "letter.txt").write_text("no DICOM")
        node.wait(jobs=1)
        wait_until(lambda: not (folder / "deep" / "a.dcm").exists(), 20, "the end of the file")
        wait_until(lambda: list((folder / "refused").glob("*letter.txt")), 20, "the refusal")
        node.storescu(save(image(48, number=1), tmp_path / "same.dcm"))  # the same bytes, sent
        job = node.wait(jobs=1)[0]
        assert (job["state"], job["calling_ae"]) == (JobState.DONE, "WATCHED_FOLDER")
    node.fsck()


def test_what_still_grows_or_is_hidden_waits_and_links_are_not_followed(tmp_path: Path) -> None:
    outbox = Outbox.of(Node.configure(tmp_path).settings)
    folder, taken = tmp_path / "incoming", list[Origin]()
    look = watched(outbox, folder)

    def commit(*arguments: object) -> int:
        taken.append(arguments[-1])  # type: ignore[arg-type]
        return 1

    look.look(commit)
    path = save(image(48), folder / "a.dcm")
    save(image(48), folder / ".part.dcm")
    (folder / "link.dcm").symlink_to(save(image(48), tmp_path / "elsewhere.dcm"))
    assert look.look(commit) == 0
    with path.open("ab") as file:
        file.write(b"\0\0")
    assert look.look(commit) == 0
    assert look.look(commit) == 1
    assert taken == [CALLER]
    assert sorted(p.name for p in folder.iterdir()) == [".part.dcm", "link.dcm"]
    outbox.close()


def test_a_file_stays_while_its_row_cannot_be_written(tmp_path: Path) -> None:
    outbox = Outbox.of(Node.configure(tmp_path).settings)
    folder = tmp_path / "incoming"
    look = watched(outbox, folder)
    folder.mkdir()
    path = save(image(48), folder / "a.dcm")

    def fail(*arguments: object) -> int:
        raise OSError("the database is away")

    look.look(fail)
    with pytest.raises(OSError, match="is away"):
        look.look(fail)
    with pytest.raises(OSError, match="is away"):
        look.look(fail)
    assert path.exists()
    assert len(outbox.spool.names("in")) == 1, "each try leaves a copy"
    outbox.close()


def test_half_a_character_stops_neither_the_folder_nor_the_receiver_nor_the_worker(tmp_path: Path) -> None:
    """A character set that is no DICOM one makes text that neither SQLite nor UTF-8 can hold."""
    folder = tmp_path / "incoming"
    more = f'[watch]\nfolder = "{folder}"\n[[rules]]\nname = "er"\nmatch.station = ["ER"]\n'
    node = Node.configure(tmp_path, more=more)
    paths = []
    for number, keyword in enumerate(("StationName", "PatientID", "AccessionNumber"), start=1):
        ds = image(32, number=number)
        ds.SpecificCharacterSet = "ISO_IR 100"
        setattr(ds, keyword, "+2AA-")
        path = save(ds, tmp_path / f"b{number}.dcm")
        path.write_bytes(path.read_bytes().replace(b"ISO_IR 100", b"utf_7     "))
        paths.append(path)
    good = image(32, number=9)
    good.StationName = "ER"
    with started(node):
        wait_until(folder.is_dir, 20, "the folder")
        node.storescu(*paths)
        for path in paths:
            folder.joinpath(path.name).write_bytes(path.read_bytes())
        save(good, folder / "z.dcm")
        jobs = node.wait(jobs=4)
        wait_until(lambda: not [path for path in folder.iterdir() if path.is_file()], 30, "the folder is empty")
        node.fsck()
    assert Counter(job["state"] for job in jobs) == {JobState.DONE: 1, JobState.SKIPPED: len(jobs) - 1}
    assert "ended by an error" not in node.log.read_text()


def test_a_file_of_which_nothing_can_be_written_down_makes_room_for_the_others(tmp_path: Path) -> None:
    outbox, folder, look = with_two_files(tmp_path)
    bad = str(image(32, number=1).SOPInstanceUID)

    def commit(*arguments: object) -> int:
        if cast(Identity, arguments[0]).sop_instance_uid == bad:
            raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")
        return 1

    look.look(commit)
    assert look.look(commit) == 2
    assert [path.name for path in folder.iterdir() if path.is_file()] == []
    assert [path.name.rpartition("-")[2] for path in (folder / "refused").iterdir()] == ["a.dcm"]
    assert len(outbox.spool.names("in")) == 1
    outbox.close()


def test_a_file_that_may_not_be_read_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    outbox, folder, look = with_two_files(tmp_path)
    monkeypatch.setattr("dicom_sr_node.receive.watched_folder._may_be_taken", lambda path: path.name != "a.dcm")
    for _ in range(4):
        look.look(lambda *arguments: 1)
    assert [path.name for path in folder.iterdir()] == ["a.dcm"]
    assert [record.getMessage() for record in caplog.records].count("files cannot be taken") == 1
    monkeypatch.undo()
    assert look.look(lambda *arguments: 1) == 1
    outbox.close()
