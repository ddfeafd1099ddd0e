"""The plan for an image: by which rule, in which forms, at which scale; with the pixels to make them of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dicom_sr_node.config.rules import Rule
from dicom_sr_node.config.types import Label
from dicom_sr_node.config.working import ModelSettings
from dicom_sr_node.dicom import damage, header
from dicom_sr_node.domain.errors import Skipped
from dicom_sr_node.domain.records import Origin, SkipReason
from dicom_sr_node.pixels import limits
from dicom_sr_node.pixels.decode import decode
from dicom_sr_node.pixels.frame import Frame
from dicom_sr_node.rules import eligibility, routing


@dataclass(frozen=True)
class PlanRequest:
    """The rules in force, and how far an image may be enlarged."""

    rules: tuple[Rule, ...]
    model: ModelSettings
    label: Label
    served: Mapping[
        str, tuple[int, ...]
    ]  # by model, as output specs name it: the scales of its generator, largest first
    only: routing.OutputSpec | None = None  # what is made of every image, whatever its rule asks for


@dataclass(frozen=True)
class PlannedOutput:
    """One of the results that are to be made."""

    spec: routing.OutputSpec
    scale: int


@dataclass(frozen=True)
class Plan:
    """What is made of an image. left_out: why some of what its rule asks for is not."""

    rule: Rule
    outputs: tuple[PlannedOutput, ...]
    left_out: tuple[str, ...]
    frame: Frame


def make(path: Path, request: PlanRequest, origin: Origin) -> Plan:
    """The way from a file to pixels and what to make of them.

    Raises Skipped, Unreadable, Undecodable; what is skipped was never decoded.
    """
    size, most = path.stat().st_size, eligibility.most_bytes(request.model)
    if size > most:
        raise Skipped(
            SkipReason.TOO_LARGE, f"the file has {size >> 20} MiB, images within the cap at most {most >> 20} MiB"
        )
    source = header.read(path)
    with damage.usable():
        limits.check(source)
        header.identity_of(source)
        taken = routing.rule_for(source, request.rules, origin)
        rule = eligibility.admit(source, taken, "" if taken else routing.why_none(source, request.rules, origin))
        rows, columns = header.number(source, "Rows"), header.number(source, "Columns")
        outputs, left_out = _outputs(rule, rows, columns, request)
        return Plan(rule, outputs, left_out, decode(source))


def _outputs(
    rule: Rule, rows: int, columns: int, request: PlanRequest
) -> tuple[tuple[PlannedOutput, ...], tuple[str, ...]]:
    """What is made, and why some of what the rule asks for is not. Raises Skipped where nothing is."""
    specs = (request.only,) if request.only else routing.output_specs(rule, request.model, request.label)
    outputs, too_large = [], []
    for spec in specs:
        served, cap = request.served[spec.model], request.model.max_output_megapixels
        try:
            outputs.append(PlannedOutput(spec, eligibility.scale_for(rows, columns, spec.scale, served, cap)))
        except Skipped as reason:
            too_large.append(reason)
    if not outputs:
        raise too_large[0]
    return tuple(outputs), tuple(str(reason) for reason in too_large)
