"""`srnode upscale`: files and folders without a service.

DICOM becomes derived DICOM; PNG, JPEG and TIFF become gray PNG.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from dicom_sr_node import __version__
from dicom_sr_node.config.rules import Rule
from dicom_sr_node.config.types import Label
from dicom_sr_node.config.working import DeriveSettings, ModelSettings
from dicom_sr_node.derive import encoding
from dicom_sr_node.derive import label as labels
from dicom_sr_node.domain.errors import NodeError, NotFound
from dicom_sr_node.domain.records import Origin, OutputKind
from dicom_sr_node.pixels.frame import Frame
from dicom_sr_node.pixels.pictures import PICTURES, read_picture
from dicom_sr_node.pixels.sandbox import DecoderProcess
from dicom_sr_node.rules import eligibility
from dicom_sr_node.rules.plan import PlanRequest
from dicom_sr_node.rules.routing import IN_SERVICE, OutputSpec
from dicom_sr_node.work.pipeline import Pipeline, unproven_remark
from model.upscaler import Upscaler

DICOM = (".dcm", ".dicom", ".ima")
Progress = Callable[[float], None]


@dataclass(frozen=True)
class FileOutcome:
    """What became of one file."""

    source: Path
    result: Path | None
    reason: str  # why there is no result


@dataclass(frozen=True)
class UpscaleBatch:
    """How a set of files is upscaled. `label` None: as configured for DICOM, none on pictures."""

    decoder: DecoderProcess
    upscaler: Upscaler
    rules: tuple[Rule, ...]
    limits: ModelSettings
    derive: DeriveSettings
    label: Label | None
    output: Path
    _taken: set[Path] = field(default_factory=set)  # results of this run

    def run(self, inputs: Iterable[Path], now: datetime, progress: Progress) -> Iterator[FileOutcome]:
        """One outcome for each file; a bad file never ends the others."""
        for root, path in expand(inputs):
            try:
                yield FileOutcome(path, self._one(path, root, now, progress), "")
            except NodeError as error:
                yield FileOutcome(path, None, str(error))
            except Exception as error:  # whatever it is, the other files are still done
                yield FileOutcome(path, None, f"{type(error).__name__}: {error}")

    def _one(self, path: Path, root: Path, now: datetime, progress: Progress) -> Path:
        if not path.is_file():
            raise NotFound("there is no such file")
        picture = path.suffix.lower() in PICTURES
        target = self._target(path, root, ".png" if picture else ".dcm")
        if target.resolve() == path.resolve():
            raise NodeError(f"the result would replace the file itself; give another folder than {self.output} with -o")
        target.parent.mkdir(parents=True, exist_ok=True)
        if picture:
            self._picture(path, target, progress)
            return target
        label = self.label or self.derive.label
        only = OutputSpec(IN_SERVICE, self.limits.scale, label, ())
        request = PlanRequest(self.rules, self.limits, label, {IN_SERVICE: self.upscaler.scales}, only=only)
        pipeline = Pipeline(self.decoder, lambda name: self.upscaler, self.derive, progress)
        derived = pipeline.run(path, request, Origin(), now).results[0]
        for kind, ds in derived.objects():
            beside = f"{target.stem} {kind}{target.suffix}".replace(" ", "-")
            _write(target if kind is OutputKind.IMAGE else target.with_name(beside), encoding.plain(ds))
        return target

    def _target(self, path: Path, root: Path, suffix: str) -> Path:
        """Below the output folder as below the input folder; an output that names a file is that file.

        A second result of the same name keeps its source's suffix: a.png and a.tif become a.png and a.tif.png.
        """
        if self.output.suffix.lower() in (".png", ".dcm"):
            if self.output.suffix.lower() != suffix:
                raise NodeError(f"the result is a {suffix} file, not {self.output.name}")
            return self.output
        named = self.output / path.relative_to(root)
        known = named.suffix.lower() in (*PICTURES, *DICOM)  # what follows the last dot of a UID is no suffix
        longer = named.with_name(named.name + suffix)
        for target in (named.with_suffix(suffix) if known else longer, longer):
            if target not in self._taken:
                self._taken.add(target)
                return target
        raise NodeError(
            f"{named.name} would replace the result of another file of that name; give another folder with -o"
        )

    def _picture(self, path: Path, target: Path, progress: Progress) -> None:
        values = read_picture(path)
        rows, columns = values.shape
        scale = eligibility.scale_for(
            rows, columns, self.limits.scale, self.upscaler.scales, self.limits.max_output_megapixels
        )
        result = self.upscaler.upscale(values, scale, progress=progress)
        if self.label == "burned":
            limits = np.iinfo(values.dtype)
            labels.burn(result, scale, None, Frame(values, (int(limits.min), int(limits.max)), None, False))
        elif self.label == "overlay":
            raise NodeError("a picture has no overlay planes; use --label burned or none")
        description = PngImagePlugin.PngInfo()
        description.add_text(
            "Description",
            f"AI-enhanced x{scale} by {self.upscaler.card.identity}; detail is estimated, not for diagnosis. "
            f"{unproven_remark(self.upscaler.card)}".strip(),
        )
        description.add_text("Software", f"dicom_sr_node {__version__}")
        written = target.with_name(f".{target.name}.part")
        Image.fromarray(result).save(written, format="PNG", pnginfo=description)
        written.rename(target)


def expand(inputs: Iterable[Path]) -> Iterator[tuple[Path, Path]]:
    """(folder that the result's place is relative to, file) for each file; folders with all below them."""
    for path in inputs:
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                if file.is_file() and not file.name.startswith("."):
                    yield path, file
        else:
            yield path.parent, path


def _write(target: Path, content: bytes) -> None:
    written = target.with_name(f".{target.name}.part")
    written.write_bytes(content)
    written.rename(target)
