"""The way of an image, from the source file to the derived objects, readable aloud."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from dicom_sr_node import quality
from dicom_sr_node.config.rules import Rule
from dicom_sr_node.config.types import Label
from dicom_sr_node.config.working import DeriveSettings
from dicom_sr_node.derive import identity
from dicom_sr_node.derive.heat_map import heat_map
from dicom_sr_node.derive.identity import Algorithm
from dicom_sr_node.derive.image import DerivedImage
from dicom_sr_node.derive.report import report
from dicom_sr_node.dicom import damage, header
from dicom_sr_node.domain.errors import Skipped
from dicom_sr_node.domain.records import Origin, OutputKind, SkipReason
from dicom_sr_node.pixels.frame import Frame
from dicom_sr_node.pixels.sandbox import DecoderProcess
from dicom_sr_node.quality import Quality
from dicom_sr_node.rules import plan as planning
from dicom_sr_node.rules.plan import PlannedOutput, PlanRequest
from dicom_sr_node.rules.routing import OutputSpec
from model.checkpoint import Card
from model.upscaler import NotFinite, Upscaler

Models = Callable[[str], Upscaler]  # by the name that an output spec has
Progress = Callable[[float], None]


@dataclass(frozen=True)
class DerivedResult:
    """What was made of an image for one output spec."""

    spec: OutputSpec
    card: Card
    scale: int
    quality: Quality
    pixels: NDArray[Any]  # (sH, sW), without any label
    image: DerivedImage
    extras: dict[OutputKind, Dataset]  # heat map, report; none by default
    source_pixels: str  # the hash of the source's pixels
    whose: str  # the hash of the patient, study and order

    def objects(self) -> Iterator[tuple[OutputKind, Dataset]]:
        """The image, then what accompanies it."""
        yield OutputKind.IMAGE, self.image
        yield from self.extras.items()


@dataclass(frozen=True)
class PipelineResult:
    """All that was made of an image, and why some of what its rule asks for was not."""

    rule: Rule
    results: tuple[DerivedResult, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class Pipeline:
    """What images are worked on with. progress: called with the finished fraction of an image."""

    decoder: DecoderProcess
    models: Models
    derive: DeriveSettings
    progress: Progress = lambda fraction: None

    def run(self, path: Path, request: PlanRequest, origin: Origin, now: datetime) -> PipelineResult:
        """One image, in each form that its rule asks for. Raises Skipped, Unreadable, Undecodable, DecoderDied."""
        plan = self.decoder.ask(planning.make, path, request, origin)
        results: list[DerivedResult] = []
        refusals: list[Skipped] = []
        upscaled: dict[tuple[str, int], NDArray[Any]] = {}  # pixels do not depend on the label
        for output in plan.outputs:
            key = (output.spec.model, output.scale)
            try:
                if key not in upscaled:
                    upscaled[key] = self._upscale(plan.frame, output)
                verdict = self._judge(plan, output, upscaled[key])
            except Skipped as reason:
                refusals.append(reason)
                continue
            results.append(self._derive(path, plan.frame, output, upscaled[key], verdict, now))
        if not results:
            raise refusals[0]
        return PipelineResult(plan.rule, tuple(results), (*plan.left_out, *map(str, refusals)))

    def _upscale(self, frame: Frame, output: PlannedOutput) -> NDArray[Any]:
        """(sH, sW). Raises Skipped."""
        try:
            return self.models(output.spec.model).upscale(
                frame.values,
                output.scale,
                value_range=frame.measured_range,
                padding=frame.padding,
                inverted=frame.inverted,
                progress=self.progress,
            )
        except NotFinite as error:
            raise Skipped(SkipReason.QUALITY, str(error)) from error

    def _judge(self, plan: planning.Plan, output: PlannedOutput, pixels: NDArray[Any]) -> Quality:
        """Raises Skipped for what must not leave."""
        verdict = quality.judge(plan.frame, pixels, self.models(output.spec.model).card)
        if not verdict.is_exact or (not verdict.is_usual and plan.rule.unusual == "skip"):
            raise Skipped(SkipReason.QUALITY, verdict.sentence, verdict.numbers)
        return verdict

    def _derive(
        self,
        path: Path,
        frame: Frame,
        output: PlannedOutput,
        pixels: NDArray[Any],
        verdict: Quality,
        now: datetime,
    ) -> DerivedResult:
        """The objects for one output spec. Raises Unreadable."""
        source, upscaler = header.read(path, pixels=False), self.models(output.spec.model)
        algorithm = algorithm_of(upscaler, output.scale, output.spec.label)
        remark = f"{verdict.remark} {unproven_remark(upscaler.card)}".strip()
        with damage.usable():
            image = DerivedImage(source, frame, pixels, algorithm=algorithm, now=now, remark=remark)
            extras: dict[OutputKind, Dataset] = {}
            if self.derive.heat_map:
                extras[OutputKind.HEAT_MAP] = heat_map(source, frame, verdict, algorithm, now, remark)
            if self.derive.report:
                extras[OutputKind.REPORT] = report(source, image, verdict, algorithm, now, remark)
            key = identity.whose(source)
        return DerivedResult(
            output.spec, upscaler.card, output.scale, verdict, pixels, image, extras, frame.sha256, key
        )


def algorithm_of(upscaler: Upscaler, scale: int, label: Label) -> Algorithm:
    """What a derived object depends on, beside its source."""
    card = upscaler.card
    return Algorithm(
        model=card.name,
        version=card.version,
        sha256=card.sha256,
        scale=scale,
        label=label,
        recipe=upscaler.recipe,
    )


def unproven_remark(card: Card) -> str:
    """What every result of weights says that are served although they have not passed the physics suite."""
    return f"UNPROVEN WEIGHTS: {card.unproven}." if card.unproven else ""


def compare(shadow: DerivedResult, sent: DerivedResult) -> dict[str, Any]:
    """How far two results of one image are apart: in stored values, and what each added."""
    apart = shadow.pixels.astype(np.float64) - sent.pixels.astype(np.float64)
    return {
        "against": sent.card.identity,
        "apart_rms": round(float(np.sqrt((apart**2).mean())), 4),
        "apart_max": round(float(np.abs(apart).max()), 1),
        "added_share": shadow.quality.numbers["added_share"],
        "added_share_sent": sent.quality.numbers["added_share"],
        "score": shadow.quality.numbers["score"],
        "score_sent": sent.quality.numbers["score"],
    }


def describe(kind: OutputKind, ds: Dataset, result: DerivedResult) -> dict[str, Any]:
    """The columns of `output`."""
    return {
        "kind": kind,
        "sop_class_uid": str(ds.SOPClassUID),
        "sop_instance_uid": str(ds.SOPInstanceUID),
        "series_uid": str(ds.SeriesInstanceUID),
        "model": result.card.identity,
        "scale": result.scale,
        "source_pixels": result.source_pixels,
        "whose": result.whose,
    }
