"""What docs/architecture.md says under "What to touch", tried from outside: nothing else is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.uid import DigitalIntraOralXRayImageStorageForPresentation
from support.images import image, process, save, upscale
from support.node import Outbox
from support.tools import ROOT
from support.training import CONFIG, make_images, train
from torch import Tensor, nn
from torch.nn import functional as F

from dicom_sr_node.commitment.scu import CommitmentScu
from dicom_sr_node.config import destinations as sections
from dicom_sr_node.config import reference
from dicom_sr_node.config.destinations import DestinationSection
from dicom_sr_node.config.loading import load
from dicom_sr_node.config.rules import Match, Rule
from dicom_sr_node.config.working import WorkSettings
from dicom_sr_node.deliver.destinations import table
from dicom_sr_node.deliver.destinations.base import Commitment, Connection, Description, Surroundings
from dicom_sr_node.deliver.destinations.dimse import offered
from dicom_sr_node.dicom import sop_kinds, syntaxes
from dicom_sr_node.dicom.sop_kinds import KINDS, SopKind
from dicom_sr_node.domain.diagnosis import Diagnosis, Verdict
from dicom_sr_node.domain.errors import Skipped
from dicom_sr_node.domain.records import Output, SkipReason
from dicom_sr_node.pixels.sandbox import DecoderProcess
from dicom_sr_node.store.commitments import Commitments
from dicom_sr_node.tools import conformance
from dicom_sr_node.verify.verification import verify
from model import architectures, backends, checkpoint
from model.architectures import Architecture
from model.backends import BackendKind
from model.checkpoint import Card
from model.family import ArchitectureConfig, SuperResolver
from model.upscaler import Upscaler
from training import losses
from training.config import read


class Here(DecoderProcess):
    """Decodes in this process: a row that only a test has added is not in another one."""

    def ask(self, task: Callable[..., Any], *arguments: object) -> Any:
        return task(*arguments)


def test_a_sop_class_is_a_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, upscaler: Upscaler) -> None:
    uid = DigitalIntraOralXRayImageStorageForPresentation
    dx = sop_kinds.kind_of("1.2.840.10008.5.1.4.1.1.1.1")
    assert dx is not None
    source = image(64)
    source.SOPClassUID = source.file_meta.MediaStorageSOPClassUID = uid
    source.Modality = "IO"
    path, here = save(source, tmp_path / "io.dcm"), Here(WorkSettings())
    with pytest.raises(Skipped, match="not a radiograph"):
        process(path, here, upscaler)
    monkeypatch.setitem(
        KINDS,
        str(uid),
        SopKind(
            uid=uid,
            modality="IO",
            name="intra-oral for presentation",
            iod_modules=dx.iod_modules,
            unnamed=SkipReason.NOT_NAMED,
        ),
    )
    with pytest.raises(Skipped, match="not named by a rule"):
        process(path, here, upscaler)
    rules = (Rule(name="teeth", match=Match(modality=("IO",))),)
    derived = upscale(path, tmp_path / "derived.dcm", here, upscaler, rules=rules)
    assert derived.SOPClassUID == uid
    assert [check.name for check in verify(tmp_path / "derived.dcm", path, here) if not check.passed] == []
    assert str(uid) in syntaxes.storage_classes("radiographs")
    assert str(uid) in {sop_class for sop_class, _ in offered(sections.Peer(ae_title="A", host="h"))}
    assert str(uid) in conformance.classes()
    assert "intra-oral for presentation" in conformance.reasons()


@dataclass(frozen=True, kw_only=True)
class StretchConfig(ArchitectureConfig):
    """A family whose only weights are those of one small convolution."""

    kernel: int = 3


class Stretch(SuperResolver):
    def __init__(self, config: StretchConfig) -> None:
        super().__init__()
        self.config = config
        self.layer = nn.Conv2d(config.channels, config.channels, config.kernel, padding=config.kernel // 2)

    def forward(self, low: Tensor) -> Tensor:
        scaled: Tensor = F.interpolate(self.layer(low), scale_factor=self.config.scale, mode="bilinear")
        return scaled


@pytest.fixture
def stretch(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(architectures.ARCHITECTURES, "stretch", Architecture(StretchConfig, Stretch))
    return "stretch"


def test_a_family_of_generators_is_a_row(tmp_path: Path, stretch: str) -> None:
    path = tmp_path / "s.safetensors"
    card = {"name": "s", "version": "1", "tile": 32, "overlap": 8}
    checkpoint.save(path, {4: Stretch(StretchConfig(kernel=5)), 2: Stretch(StretchConfig(kernel=5, scale=2))}, **card)
    read_back = checkpoint.read_card(path)
    assert (read_back.family, read_back.architecture) == (stretch, StretchConfig(kernel=5))
    array = np.arange(400, dtype=np.uint16).reshape(20, 20)
    for scale in (2, 4):
        result = Upscaler.load(str(path), "cpu").upscale(array, scale)
        assert np.array_equal(result.reshape(20, scale, 20, scale).mean(axis=(1, 3)), array)


def test_a_family_of_generators_is_trained_by_its_own_keys(tmp_path: Path, stretch: str) -> None:
    torch.manual_seed(0)
    own = CONFIG.format(root=make_images(tmp_path / "images"), runs=tmp_path / "runs")
    begin, end = own.index("[generator]"), own.index("[critic]")
    config = tmp_path / "stretch.toml"
    config.write_text(f'family = "{stretch}"\n{own[:begin]}[generator]\nkernel = 5\n{own[end:]}')
    assert read(config).generator == StretchConfig(kernel=5)
    run = train(config)
    weights = next(run.folder.rglob("*.safetensors"))
    assert checkpoint.read_card(weights).family == stretch


def test_a_pixel_loss_is_a_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "tiny.toml"
    config.write_text(CONFIG.format(root=make_images(tmp_path / "images"), runs=tmp_path / "runs"))
    seen = list[float]()

    def twice(result: Tensor, target: Tensor, limit: Tensor, high: Tensor) -> Tensor:
        loss = 2 * losses.absolute(result, target)
        seen.append(float(loss.detach().mean()))
        return loss

    monkeypatch.setitem(losses.PIXEL_LOSSES, "twice", twice)
    train(config, "pixel=twice", "content.steps=2")
    assert seen


class Shelf(DestinationSection):
    """Results as files of one folder."""

    example_name: ClassVar[str] = "SHELF"
    folder: Path
    """Where they are put."""


class ShelfDestination:
    commitment: Commitment = "off"
    is_usable, offers_commitment = True, False

    def __init__(self, name: str, section: Shelf, node: Surroundings) -> None:
        self._name, self._folder = name, section.folder

    def open(self) -> AbstractContextManager[Connection]:
        return nullcontext(self)

    def send(self, output: Output, path: Path, *, plain: bool) -> str:
        self._folder.mkdir(exist_ok=True)
        (self._folder / f"{output.sop_instance_uid}.dcm").write_bytes(path.read_bytes())
        return "put"

    def check(self, commitments: Commitments) -> Iterator[Diagnosis]:
        yield Diagnosis(f"{self._name} shelf", Verdict.PASS, str(self._folder))

    def describe(self) -> Description:
        return Description("", str(self._folder), "nothing", "")

    def commitment_scu(self, commitments: Commitments) -> CommitmentScu | None:
        return None

    def audit_address(self) -> tuple[str, str] | None:
        return self._name, str(self._folder)


def test_another_way_out_is_a_section_and_a_class(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sections.SECTIONS, "shelves", Shelf)
    monkeypatch.setitem(table.DESTINATIONS, Shelf, ShelfDestination)  # type: ignore[misc]
    config, folder = tmp_path / "node.toml", tmp_path / "shelf"
    config.write_text(
        f'[node]\ndata_dir = "{tmp_path / "var"}"\n[shelves.WOOD]\nfolder = "{folder}"\n'
        '[[rules]]\nname = "all"\nsend_to = ["WOOD"]\n'
    )
    settings = load(config, {})
    assert settings.destinations == ("WOOD", "folder")
    assert "[shelves.SHELF]" in reference.example()
    outbox = Outbox.of(settings)
    result = outbox.put(1, "WOOD")
    outbox.worker("WOOD").step(Event())
    assert outbox.states("WOOD") == {"done": 1}
    assert dcmread(folder / f"{result.SOPInstanceUID}.dcm").SOPInstanceUID == result.SOPInstanceUID
    (way,) = table.destinations(settings).values()
    assert [check.name for check in way.check(outbox.store.commitments)] == ["WOOD shelf"]
    outbox.close()


class Repeated:
    """A backend that computes nothing: every pixel s x s times."""

    scales, device, recipe = (4, 2), "cpu", "repeated float32"

    def run(self, scale: int, low: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.repeat(np.repeat(low, scale, axis=1), scale, axis=2)

    @classmethod
    def load(cls, path: Path, device: str, precision: str) -> tuple[Repeated, Card]:
        return cls(), checkpoint.read_card(path)


def test_a_backend_is_a_class_and_its_results_have_uids_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, upscaler: Upscaler, reader: DecoderProcess
) -> None:
    monkeypatch.setitem(backends.BACKENDS, "repeated", BackendKind(Repeated.load, lambda device: "xr-lite"))
    repeated = Upscaler.load("auto", backend="repeated")
    source = save(image(48), tmp_path / "source.dcm")
    derived = upscale(source, tmp_path / "derived.dcm", reader, repeated)
    assert np.array_equal(derived.pixel_array[::4, ::4], image(48).pixel_array)
    assert "Computed in repeated float32." in derived.DerivationDescription
    assert [check.name for check in verify(tmp_path / "derived.dcm", source, reader) if not check.passed] == []
    assert derived.SOPInstanceUID != process(source, reader, upscaler).image.SOPInstanceUID
    with pytest.raises(ValueError, match="no backend 'onnx'; known backends: torch, repeated"):
        Upscaler.load("xr-lite", backend="onnx")


def test_the_page_names_files_that_exist() -> None:
    """Every path of "What to touch" leads somewhere."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = text[text.index("## What to touch") :]
    paths = {word for word in rows.replace("`", " ").split() if "/" in word and word.endswith((".py", ".toml", "/"))}
    assert len(paths) > 10
    assert {path for path in paths if not (ROOT / path).exists() and "NAME" not in path} == set()
