"""The receiver between real senders: what is acknowledged is safe, what is refused is refused for a reason."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from pynetdicom import AE, build_context
from pynetdicom.dimse_primitives import C_STORE
from support.archive import Archive
from support.command import srnode
from support.images import image, save
from support.node import Node, store_of
from support.tools import need, run, wait_until

from dicom_sr_node.dicom import header
from dicom_sr_node.domain.records import JobState
from dicom_sr_node.runtime import locks


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Node]:
    """Only the receive role: what it took in stays in the queue."""
    node = Node.configure(tmp_path)
    with _receiving(node):
        yield node


@contextmanager
def _receiving(node: Node) -> Iterator[None]:
    node.start("receive")
    try:
        yield
    finally:
        node.stop()


def store(node: Node, ds: Dataset, syntax: str = ExplicitVRLittleEndian, sop_class: str | None = None) -> int:
    """The status of one C-STORE by pynetdicom."""
    ae = AE(ae_title="SENDER")
    ae.add_requested_context(sop_class or ds.SOPClassUID, syntax)
    assoc = ae.associate("127.0.0.1", node.settings.scp.port, ae_title="SRNODE")
    assert assoc.is_established
    answer = assoc.send_c_store(ds)
    assoc.release()
    return int(answer.Status)


def spooled(node: Node) -> list[Path]:
    return sorted((node.settings.node.data_dir / "spool" / "in").iterdir())


def test_c_echo_is_answered(receiver: Node) -> None:
    run(need("echoscu", "dcmtk"), "-aec", "SRNODE", "127.0.0.1", str(receiver.settings.scp.port))


def test_an_acknowledged_image_is_on_disk_and_in_the_queue(receiver: Node, tmp_path: Path) -> None:
    source = save(image(), tmp_path / "a.dcm")
    receiver.storescu(source)
    (path,) = spooled(receiver)
    (job,) = receiver.store.jobs.ls((), 10)
    instance = receiver.store.instances.get(job["instance_id"])
    assert job["state"] == JobState.READY
    assert instance.file == path.name
    assert instance.sha256 == header.data_set_sha256(path)
    assert header.read(path).pixel_array.tolist() == image().pixel_array.tolist()
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("tool", "packing", "sending"),
    [
        ("dcmcjpeg", "+e1", "-xs"),
        ("dcmcjpls", "+el", "-xt"),
        ("dcmcrle", None, "-xr"),
        ("dcmcjpeg", "+eb", "-xy"),
        ("dcmconv", "+tb", "-xb"),
        ("dcmconv", "+ti", "-xi"),
    ],
    ids=["jpeg lossless", "jpeg-ls", "rle", "jpeg baseline", "big endian", "implicit"],
)
def test_each_transfer_syntax_is_taken_as_it_is(
    receiver: Node, tmp_path: Path, tool: str, packing: str | None, sending: str
) -> None:
    ds = image()
    if packing == "+eb":
        ds.PixelData = (ds.pixel_array >> 4).astype("u1").tobytes()
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
        ds["PixelData"].VR = "OB"
    source, packed = save(ds, tmp_path / "a.dcm"), tmp_path / "packed.dcm"
    run(need(tool, "dcmtk"), *([packing] if packing else []), source, packed)
    receiver.storescu(packed, options=(sending,))
    (path,) = spooled(receiver)
    assert header.read(path).file_meta.TransferSyntaxUID == header.read(packed).file_meta.TransferSyntaxUID


def test_jpeg_2000_is_taken_as_it_is(receiver: Node) -> None:
    ds = image()
    ds.compress("1.2.840.10008.1.2.4.90", generate_instance_uid=False)
    assert store(receiver, ds, "1.2.840.10008.1.2.4.90") == 0x0000


def test_deflated_is_never_accepted(receiver: Node) -> None:
    ae = AE(ae_title="SENDER")
    ae.add_requested_context(image().SOPClassUID, DeflatedExplicitVRLittleEndian)
    assoc = ae.associate("127.0.0.1", receiver.settings.scp.port, ae_title="SRNODE")
    assert not assoc.accepted_contexts
    assoc.abort()


def test_an_image_sent_twice_makes_one_job(receiver: Node, tmp_path: Path) -> None:
    source = save(image(), tmp_path / "a.dcm")
    for _ in range(2):
        receiver.storescu(source)
    assert len(receiver.store.jobs.ls((), 10)) == 1
    assert len(spooled(receiver)) == 1


def test_the_same_uid_with_other_pixels_is_kept_beside_the_first(receiver: Node, tmp_path: Path) -> None:
    other = image(seed=8)
    receiver.storescu(save(image(), tmp_path / "a.dcm"), save(other, tmp_path / "b.dcm"))
    assert len(receiver.store.jobs.ls((), 10)) == 2
    assert len(spooled(receiver)) == 2


def test_what_is_no_radiograph_is_taken_too(receiver: Node) -> None:
    ds = image()
    ds.SOPClassUID = SecondaryCaptureImageStorage
    assert store(receiver, ds) == 0x0000


@pytest.mark.parametrize("uid", ["../../tmp/evil", "1" * 65, "1..2"])
def test_a_hostile_uid_is_refused_and_touches_nothing(receiver: Node, uid: str) -> None:
    ds = image()
    ds.StudyInstanceUID = uid
    assert store(receiver, ds) == 0xC000
    assert spooled(receiver) == []
    assert receiver.store.jobs.ls((), 10) == []


def test_a_damaged_element_is_refused_and_the_node_starts_again(tmp_path: Path) -> None:
    """Modality with the binary VR FL: it is only when the value is looked at that the damage shows."""
    node = Node.configure(tmp_path)
    path = save(image(), tmp_path / "a.dcm")
    content = path.read_bytes()
    at = content.index(b"\x08\x00\x60\x00CS")
    path.write_bytes(content[: at + 4] + b"FL" + content[at + 6 :])
    with _receiving(node):
        ae = AE(ae_title="SENDER")
        ae.add_requested_context(image().SOPClassUID, ExplicitVRLittleEndian)
        assoc = ae.associate("127.0.0.1", node.settings.scp.port, ae_title="SRNODE")
        assert assoc.send_c_store(path).Status == 0xC000
        assoc.release()
        assert spooled(node) == []
    (node.settings.node.data_dir / "spool" / "in" / ("c" * 32)).write_bytes(path.read_bytes())
    with _receiving(node):
        assert store(node, image()) == 0x0000


def test_a_data_set_that_is_another_than_announced_is_refused(receiver: Node) -> None:
    ds = image()
    ae = AE(ae_title="SENDER")
    ae.add_requested_context(ds.SOPClassUID, ExplicitVRLittleEndian)
    assoc = ae.associate("127.0.0.1", receiver.settings.scp.port, ae_title="SRNODE")
    send = assoc.dimse.send_msg

    def lie(primitive: C_STORE, context_id: int) -> None:
        primitive.AffectedSOPInstanceUID = "1.2.3.4"
        send(primitive, context_id)

    assoc.dimse.send_msg = lie
    assert assoc.send_c_store(ds).Status == 0xA900
    assoc.release()
    assert spooled(receiver) == []


def test_a_wrong_called_ae_title_is_rejected(receiver: Node) -> None:
    contexts = [build_context("1.2.840.10008.1.1")]
    port = receiver.settings.scp.port
    assoc = AE(ae_title="SENDER").associate("127.0.0.1", port, contexts, ae_title="OTHER")
    assert assoc.is_rejected
    assert assoc.acceptor.primitive.diagnostic == 0x07


def _fill(path: Path) -> None:
    """Take all that is left of a file system."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def test_a_full_disk_is_out_of_resources_and_the_node_goes_on(tmp_path: Path) -> None:
    """A real full disk: the data directory is a file system of its own, of two megabytes."""
    node = Node.configure(tmp_path)
    data_dir = node.settings.node.data_dir
    data_dir.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", data_dir], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("cannot mount a small file system: run as root")
    try:
        with _receiving(node):
            assert store(node, image(64)) == 0x0000
            filler = data_dir / "filler"
            _fill(filler)
            assert store(node, image(512, number=2)) == 0xA700
            assert [path for path in (data_dir / "spool" / "tmp").rglob("*") if path.is_file()] == []
            filler.unlink()
            assert store(node, image(64, number=3)) == 0x0000
            assert len(node.store.jobs.ls((), 10)) == 2
    finally:
        subprocess.run(["umount", "-l", data_dir], check=False)


def test_an_orphan_of_a_killed_receiver_is_adopted(tmp_path: Path) -> None:
    """Killed between rename and commit: the file is there, the row is not."""
    node = Node.configure(tmp_path)
    tables = store_of(node.settings)
    folder = node.settings.node.data_dir / "spool" / "in"
    folder.mkdir(parents=True)
    orphan, rubbish = save(image(), folder / ("a" * 32)), folder / ("b" * 32)
    rubbish.write_bytes(b"rubbish")
    mine = f"{locks.node_id(node.settings.node.data_dir)}-receive"
    left = node.settings.node.data_dir / "spool" / "tmp" / mine / "left"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    with _receiving(node):
        (job,) = tables.jobs.ls((), 10)
        assert job["sop_instance_uid"] == image().SOPInstanceUID
        assert node.storescu(orphan).returncode == 0  # sent again: the same image
        assert len(node.store.jobs.ls((), 10)) == 1
    assert not rubbish.exists()
    assert not left.exists()


def test_a_silent_caller_does_not_hold_the_node(tmp_path: Path) -> None:
    node = Node.configure(tmp_path)
    config = node.config.read_text().replace("[scp]\n", "[scp]\npdu_timeout_s = 1\nmax_associations = 2\n")
    node.config.write_text(config)
    with _receiving(node):
        silent = [socket.create_connection(("127.0.0.1", node.settings.scp.port)) for _ in range(2)]
        for connection in silent:
            connection.sendall(b"\x01\x00\x00")
        for connection in silent:
            connection.settimeout(20)
            assert connection.recv(1) == b""  # cut off
            connection.close()
        echo = (need("echoscu", "dcmtk"), "-aec", "SRNODE", "127.0.0.1", str(node.settings.scp.port))
        wait_until(lambda: run(*echo, check=False).returncode == 0, 5, "an answer to C-ECHO")


def test_write_sync_rename_sync_commit_come_before_the_response(tmp_path: Path) -> None:
    """The order of system calls for one acknowledged image, seen from outside."""
    tool = need("strace", "strace")
    node = Node.configure(tmp_path)
    with _receiving(node):
        assert node.process is not None
        trace = tmp_path / "trace"
        calls = "trace=rename,renameat,renameat2,fsync,fdatasync,sendto,unlink"
        tracer = subprocess.Popen(
            [tool, "-f", "-y", "-e", calls, "-o", trace, "-p", str(node.process.pid)], stderr=subprocess.PIPE
        )
        assert tracer.stderr is not None
        tracer.stderr.readline()  # attached
        node.storescu(save(image(), tmp_path / "a.dcm"))
        tracer.terminate()
        tracer.communicate()
    lines = trace.read_text().splitlines()

    def first(*parts: str, after: int = -1) -> int:
        return next(n for n, line in enumerate(lines) if n > after and all(part in line for part in parts))

    synced = first("fsync(", "/spool/tmp/", "-receive/")
    renamed = first("rename(", "/spool/in/", after=synced)
    folder = first("fsync(", "/spool/in>", after=renamed)
    database = first("fdatasync(", "srnode.db>", after=folder)
    committed = first("unlink(", "srnode.db-journal", after=database)
    journal_folder = first("fdatasync(", "/var>", after=committed)
    assert first("sendto(", after=journal_folder) > journal_folder
    assert not [n for n, line in enumerate(lines) if "sendto(" in line and synced < n < journal_folder]


def test_two_nodes_never_share_a_data_directory(tmp_path: Path) -> None:
    node = Node.configure(tmp_path)
    with _receiving(node):
        done = srnode("-c", node.config, "receive", check=False)
        assert done.returncode == 1
        assert f"the data directory {node.settings.node.data_dir} is locked" in done.stderr


def test_a_port_that_is_taken_stops_the_start(tmp_path: Path, archive: Archive) -> None:
    node = Node.configure(tmp_path)
    node.config.write_text(node.config.read_text().replace(str(node.settings.scp.port), str(archive.port)))
    done = srnode("-c", node.config, "serve", check=False)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{archive.port}" in done.stderr


def test_file_meta_of_the_sender_is_not_kept(receiver: Node) -> None:
    ds = image()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.SourceApplicationEntityTitle = "SECRET"
    assert store(receiver, ds) == 0x0000
    assert b"SECRET" not in spooled(receiver)[0].read_bytes()[:1000]
