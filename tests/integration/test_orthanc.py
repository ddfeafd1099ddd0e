"""The whole journey between real peers: dcmtk sends, Orthanc receives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import JPEGLSLossless
from support.images import image, save
from support.node import Node
from support.orthanc import Orthanc
from support.tools import (
    ROOT,
    SYNTHETIC_DATA_WAIVER,
    dciodvfy_errors,
    free_port,
    need,
    run,
    shared,
    started,
    wait_until,
)

from dicom_sr_node.pixels.sandbox import DecoderProcess
from dicom_sr_node.verify.verification import verify


def test_each_eligible_image_reaches_orthanc_once_in_one_derived_series(
    tmp_path: Path, orthanc: Orthanc, reader: DecoderProcess
) -> None:
    sources = [
        save(image(64, modality="DX", number=1), tmp_path / "dx1.dcm"),
        save(image(64, modality="DX", number=2, seed=8), tmp_path / "dx2.dcm"),
        save(image(64, modality="CR", number=1), tmp_path / "cr1.dcm"),
        save(image(64, modality="DX", inverted=True, number=3), tmp_path / "mono1.dcm"),
    ]
    with started(Node.configure(tmp_path, peers={"ORTHANC": orthanc.port})) as node:
        node.storescu(*sources)
        node.storescu(*sources)  # a second time: nothing is doubled
        jobs = node.wait(jobs=len(sources))
    assert [job["state"] for job in jobs] == ["done"] * len(sources)
    arrived = orthanc.instances()
    assert len(arrived) == len(sources)
    by_source = {path: dcmread(path) for path in sources}
    assert len(orthanc.get("/studies")) == 1
    assert len(orthanc.get("/series")) == len({ds.SeriesInstanceUID for ds in by_source.values()})
    for number, entry in enumerate(arrived):
        derived = orthanc.file(entry["ID"], tmp_path / f"derived{number}.dcm")
        assert dcmread(derived).file_meta.TransferSyntaxUID == JPEGLSLossless  # which Orthanc accepts
        source = _source_of(derived, by_source)
        failed = [check for check in verify(derived, source, reader) if not check.passed]
        assert not failed
        assert dciodvfy_errors(derived) - dciodvfy_errors(source) <= {SYNTHETIC_DATA_WAIVER}


def test_a_real_compressed_radiograph_reaches_orthanc(tmp_path: Path, orthanc: Orthanc, reader: DecoderProcess) -> None:
    source = shared("dicom", "mg-overlay-out-of-bounds.dcm")  # JPEG lossless, one megapixel
    node = Node.configure(tmp_path, peers={"ORTHANC": orthanc.port})
    node.change("[model]\n", "[model]\nmax_output_megapixels = 5\n")  # x2, to be quick
    node.change('name = "all"', 'name = "all"\nmatch.modality = ["MG"]')
    with started(node):
        node.storescu(source, options=("-xs",))
        jobs = node.wait(jobs=1)
    assert [job["state"] for job in jobs] == ["done"]
    (entry,) = orthanc.instances()
    derived = orthanc.file(entry["ID"], tmp_path / "derived.dcm")
    assert not [check for check in verify(derived, source, reader) if not check.passed]


def test_orthanc_forwards_by_the_script_of_the_quick_start_and_nothing_runs_in_circles(tmp_path: Path) -> None:
    script = tmp_path / "sharper.lua"
    script.write_text((ROOT / "docs" / "quick-start.md").read_text().split("```lua\n")[1].split("```")[0])
    port = free_port()
    modalities = {"SRNODE": ["SRNODE", "127.0.0.1", port]}
    orthanc = Orthanc(tmp_path / "orthanc", LuaScripts=[str(script)], DicomModalities=modalities)
    source = save(image(), tmp_path / "a.dcm")
    node = Node.configure(tmp_path, peers={"ORTHANC": orthanc.port}, port=port)
    with started(orthanc), started(node):
        run(need("storescu", "dcmtk"), "-aec", "ORTHANC", "127.0.0.1", str(orthanc.port), source)
        wait_until(lambda: len(orthanc.instances()) == 2, 60, "the derived image in Orthanc")
        jobs = node.wait(jobs=1)
        run(need("storescu", "dcmtk"), "-aec", "SRNODE", "127.0.0.1", str(port), source)  # time for a circle to show
        assert len(node.wait(jobs=1)) == len(jobs) == 1
        assert len(orthanc.instances()) == 2


def _source_of(derived: Path, sources: Mapping[Path, object]) -> Path:
    wanted = dcmread(derived).SourceImageSequence[0].ReferencedSOPInstanceUID
    return next(path for path, ds in sources.items() if ds.SOPInstanceUID == wanted)  # type: ignore[attr-defined]
