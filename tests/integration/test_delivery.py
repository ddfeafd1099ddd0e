"""Results reach their destination once, or say why not."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import ImplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless
from support.archive import Archive
from support.command import srnode
from support.images import image, save
from support.node import Node
from support.orthanc import Orthanc
from support.tools import free_port, need, run, shared, started, wait_until

from dicom_sr_node.dicom import syntaxes
from dicom_sr_node.domain.records import JobState
from dicom_sr_node.pixels.sandbox import DecoderProcess
from dicom_sr_node.verify.verification import verify


@contextmanager
def several(archives: Iterable[Archive]) -> Iterator[list[Archive]]:
    with ExitStack() as stack:
        yield [stack.enter_context(started(archive)) for archive in archives]


def test_orthanc_is_down_and_comes_back(tmp_path: Path, orthanc: Orthanc) -> None:
    orthanc.stop()
    source = save(image(), tmp_path / "a.dcm")
    with started(Node.configure(tmp_path, peers={"ORTHANC": orthanc.port})) as node:
        node.storescu(source)
        wait_until(
            lambda: any("delivery failed" in str(node.store.instances.events(1)) for _ in "x"), 60, "a failed try"
        )
        assert node.store.jobs.counts()[JobState.DONE] == 1
        assert node.store.deliveries.counts()["ORTHANC"][JobState.DEAD] == 0
        orthanc.start()
        node.wait(jobs=1)
    assert len(orthanc.instances()) == 1


def test_a_passing_refusal_is_tried_again_and_a_warning_is_stored(tmp_path: Path) -> None:
    """One archive for each answer, all of them destinations of one image."""
    scripts = [[0xA700] * 2, [0x0110] * 2, [0xC000] * 2, [0xB000]]
    with several(Archive(script=script) for script in scripts) as archives:
        peers = {f"ARCHIVE{number}": archive.port for number, archive in enumerate(archives)}
        with started(Node.configure(tmp_path, peers=peers)) as node:
            node.storescu(save(image(), tmp_path / "a.dcm"))
            node.wait(jobs=1)
            assert {
                name: ways[JobState.DONE] for name, ways in node.store.deliveries.counts().items()
            } == dict.fromkeys(peers, 1)
            assert "coercion" in str(node.store.instances.events(1))
    assert [archive.script for archive in archives] == [[]] * 4
    assert [len(archive.uids) for archive in archives] == [1] * 4


def test_a_final_refusal_is_dead_with_its_reason_and_can_be_sent_again(tmp_path: Path) -> None:
    scripts = {"0xA900": [0xA900], "SOP class not supported": [0x0122], "0xC000": [0xC000] * 3}
    with several(Archive(script=script) for script in scripts.values()) as archives:
        peers = {f"ARCHIVE{number}": archive.port for number, archive in enumerate(archives)}
        with started(Node.configure(tmp_path, peers=peers)) as node:
            node.storescu(save(image(), tmp_path / "a.dcm"))

            def dead() -> list[str]:
                counts = node.store.deliveries.counts()
                return [name for name in peers if counts.get(name, {}).get(JobState.DEAD)]

            wait_until(lambda: len(dead()) == len(peers), 90, "the end of the deliveries")
            shown = json.loads(srnode("jobs", "show", "1", "--json", "-c", node.config).stdout)
            reasons = {way["destination"]: way["reason"] for way in shown["deliveries"]}
            for name, told in zip(peers, scripts, strict=True):
                assert told in reasons[name]
            assert [archive.uids for archive in archives] == [[]] * 3
            srnode("jobs", "retry", "1", "-c", node.config)
            node.wait(jobs=1)
    assert [len(archive.uids) for archive in archives] == [1] * 3


def test_one_dead_destination_does_not_hold_up_another(tmp_path: Path, archive: Archive) -> None:
    with started(Node.configure(tmp_path, peers={"GONE": free_port(), "ARCHIVE": archive.port})) as node:
        node.storescu(save(image(), tmp_path / "a.dcm"))
        wait_until(lambda: archive.uids, 90, "the delivery to the other one")
        assert node.store.deliveries.counts()["GONE"][JobState.DONE] == 0


def test_without_a_destination_results_go_to_the_folder(tmp_path: Path, reader: DecoderProcess) -> None:
    source = save(image(), tmp_path / "a.dcm")
    with started(Node.configure(tmp_path)) as node:
        node.storescu(source)
        node.wait(jobs=1)
    (derived,) = (node.settings.node.data_dir / "out").rglob("*.dcm")
    assert all(check.passed for check in verify(derived, source, reader))
    ds = dcmread(derived)
    assert derived.parts[-2:] == (ds.SeriesInstanceUID, f"{ds.SOPInstanceUID}.dcm")


def test_a_result_goes_out_compressed_where_that_is_taken_and_holds_the_same(
    tmp_path: Path, reader: DecoderProcess
) -> None:
    """One archive for what each takes and is configured to get, all of them destinations of one image."""
    source = save(image(), tmp_path / "a.dcm")
    taken: tuple[list[str], ...] = ([JPEGLSLossless, *syntaxes.UNCOMPRESSED], [ImplicitVRLittleEndian], [])
    cases = [(accepted, wish) for accepted in taken for wish in ("jpeg-ls", "none")]
    with several(Archive(syntaxes_taken=accepted) for accepted, _ in cases) as archives:
        peers = {f"ARCHIVE{number}": archive.port for number, archive in enumerate(archives)}
        node = Node.configure(tmp_path, peers=peers)
        for name, (_, wish) in zip(peers, cases, strict=True):
            node.change(f"[peers.{name}]", f'[peers.{name}]\ncompression = "{wish}"')
        with started(node):
            node.storescu(source)
            node.wait(jobs=1)
    for archive, (accepted, wish) in zip(archives, cases, strict=True):
        (arrived,) = archive.received
        compressed = JPEGLSLossless in accepted and wish == "jpeg-ls"
        assert (arrived.file_meta.TransferSyntaxUID == JPEGLSLossless) is compressed
        derived = tmp_path / "derived.dcm"
        arrived.save_as(derived, enforce_file_format=True)
        assert all(check.passed for check in verify(derived, source, reader))


def test_one_image_in_six_codecs_has_one_result(node: Node, archive: Archive, tmp_path: Path) -> None:
    plain = save(image(), tmp_path / "plain.dcm")
    node.storescu(plain)
    for option, syntax in (("-xv", JPEG2000Lossless), ("-xt", JPEGLSLossless), ("-xr", RLELossless)):
        ds = dcmread(plain)
        ds.compress(syntax, generate_instance_uid=False)
        node.storescu(save(ds, tmp_path / "packed.dcm"), options=(option,))
    for option, tool, how in (("-xs", "dcmcjpeg", "+e1"), ("-xb", "dcmconv", "+tb")):
        run(need(tool, "dcmtk"), how, plain, tmp_path / "packed.dcm")
        node.storescu(tmp_path / "packed.dcm", options=(option,))
    jobs = node.wait(jobs=6)
    assert [job["state"] for job in jobs] == ["done"] * 6
    assert len(archive.uids) == 1


def test_our_own_output_sent_back_is_skipped_and_said_so(node: Node, archive: Archive, tmp_path: Path) -> None:
    node.storescu(save(image(), tmp_path / "a.dcm"))
    node.wait(jobs=1)
    (derived,) = archive.received
    node.storescu(save(derived, tmp_path / "derived.dcm"))
    node.wait(jobs=2)
    assert len(archive.uids) == 1
    status = json.loads(srnode("status", "--json", "-c", node.config).stdout)
    assert status["jobs"]["skipped"] == 1
    assert [reason for reason in status["skipped"] if "already upscaled" in reason]


def test_a_mixed_study_yields_results_for_its_radiographs_alone(node: Node, archive: Archive, tmp_path: Path) -> None:
    node.storescu(save(image(), tmp_path / "a.dcm"), shared("dicom", "sc-signed-16bit.dcm"))
    node.storescu(shared("dicom", "broken-j2k-codestream.dcm"), options=("-xv",))
    jobs = {job["state"]: job for job in node.wait(jobs=3)}
    assert set(jobs) == {"done", "skipped", "dead"}
    assert "not a radiograph" in jobs["skipped"]["reason"]
    assert "cannot be decoded" in jobs["dead"]["reason"]
    assert len(archive.uids) == 1


def test_status_and_jobs_tell_people_what_is_where(node: Node, archive: Archive, tmp_path: Path) -> None:
    node.storescu(save(image(), tmp_path / "a.dcm"))
    node.wait(jobs=1)
    status = srnode("status", "-c", node.config).stdout
    assert "to ARCHIVE" in status
    assert "model xr-lite" in status
    roles = json.loads(srnode("status", "--json", "-c", node.config).stdout)["roles"]
    assert {role["pid"] for role in roles} == {node.pids(name)[0] for name in ("receive", "work", "deliver")}
    assert all(role["alive"] for role in roles)
    assert "delivered" in srnode("jobs", "ls", "-c", node.config).stdout
    shown = srnode("jobs", "show", "1", "-c", node.config).stdout
    assert "received" in shown
    assert "delivered  to ARCHIVE" in shown
    for command in (("show", "99"), ("retry", "99"), ("cancel", "1")):
        done = srnode("jobs", *command, "-c", node.config, check=False)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr


def test_images_of_one_series_that_arrive_apart_share_their_derived_series(
    node: Node, archive: Archive, tmp_path: Path
) -> None:
    for number in (2, 1):
        node.storescu(save(image(number=number), tmp_path / f"{number}.dcm"))
        node.wait(jobs=3 - number)
    first, second = archive.received
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    assert {first.InstanceNumber, second.InstanceNumber} == {1, 2}


def test_an_image_that_comes_in_two_transfer_syntaxes_has_one_result(
    node: Node, archive: Archive, tmp_path: Path
) -> None:
    source = save(image(), tmp_path / "a.dcm")
    node.storescu(source, options=("-xe",))
    node.storescu(source, options=("-xi",))
    assert {job["state"] for job in node.wait(jobs=2)} == {"done"}
    assert len(archive.uids) == 1


def test_no_patient_data_is_logged(node: Node, tmp_path: Path) -> None:
    ds = image()
    ds.PatientName, ds.PatientID, ds.AccessionNumber = "ZZPHI^SENTINEL", "ZZPHI-ID", "ZZPHI-ACC"
    node.storescu(save(ds, tmp_path / "a.dcm"))
    bad = image(number=2)
    bad.PatientName, bad.StudyInstanceUID = "ZZPHI^SENTINEL", "1..ZZPHI"
    node.storescu(save(bad, tmp_path / "b.dcm"), check=False)
    node.wait(jobs=1)
    assert "ZZPHI" not in node.log.read_text()
    assert not list(node.settings.node.data_dir.rglob("*ZZPHI*"))
