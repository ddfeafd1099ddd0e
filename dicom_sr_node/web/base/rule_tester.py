"""A dropped file and the rules: which one takes it, what would be done, or why not. Nothing is kept of the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset

from dicom_sr_node.config.rules import Rule
from dicom_sr_node.dicom import damage, header
from dicom_sr_node.domain.errors import NodeError, Unreadable
from dicom_sr_node.domain.records import Origin
from dicom_sr_node.pixels.sandbox import DecoderProcess
from dicom_sr_node.rules import plan, routing
from dicom_sr_node.rules.plan import PlanRequest
from dicom_sr_node.web.base.context import AppContext

_PIECE = 1 << 20


@dataclass(frozen=True)
class RuleOutcome:
    """One rule, and what keeps it from taking the image."""

    rule: str
    misses: tuple[str, ...]
    reached: bool  # False: a rule before it has taken the image


@dataclass(frozen=True)
class ExpectedResult:
    """One of the results that would be made."""

    model: str
    scale: int
    label: str
    destinations: tuple[str, ...]


@dataclass(frozen=True)
class RuleTest:
    """How the rules take an image."""

    said: dict[str, str]  # what they look at, as the image has it
    asked: tuple[RuleOutcome, ...]
    rule: str | None
    priority: str
    refusal: str  # why nothing would be made; or nothing
    results: tuple[ExpectedResult, ...]
    left_out: tuple[str, ...]


def ask_rules(
    path: Path, rules: tuple[Rule, ...], origin: Origin
) -> tuple[dict[str, str], list[tuple[str, list[str]]]]:
    """What the rules look at, and what keeps each from taking the image. Raises Unreadable."""
    source = header.read(path, pixels=False)
    with damage.usable():
        ordered = routing.in_order(rules)
        return _attributes(source), [(rule.name, routing.misses(rule.match, source, origin)) for rule in ordered]


def _attributes(source: Dataset) -> dict[str, str]:
    keys = ("Modality", "BodyPartExamined", "ViewPosition", "StationName")
    values = {key: header.first(source, key).strip()[:64] for key in keys}
    rows, columns = source.get("Rows"), source.get("Columns")
    return {**values, "Size": f"{columns} x {rows}" if rows and columns else ""}


def of_upload(context: AppContext, upload: BinaryIO, calling_ae: str, called_ae: str) -> RuleTest:
    """Of a dropped file, as if it had come from one AE title to another. Raises Unreadable, DecoderDied."""
    origin = Origin(calling_ae=calling_ae.strip(), called_ae=called_ae.strip() or context.settings.node.ae_title)
    with _kept(context, upload) as path:
        return _run(context, path, origin)


def _run(context: AppContext, path: Path, origin: Origin) -> RuleTest:
    """Ask the rules in force."""
    settings = context.settings
    with DecoderProcess(settings.work) as decoder:
        attributes, asked = decoder.ask(ask_rules, path, settings.rules, origin)
        taken = next((name for name, misses in asked if not misses), None)
        reached = [name for name, _ in asked].index(taken) if taken else len(asked)
        rule = next((rule for rule in routing.in_order(settings.rules) if rule.name == taken), None)
        steps = tuple(
            RuleOutcome(name, tuple(misses), number <= reached) for number, (name, misses) in enumerate(asked)
        )
        refusal, results, left_out = "", tuple[ExpectedResult, ...](), tuple[str, ...]()
        try:
            admitted = decoder.ask(plan.make, path, _plan_request(context), origin)
            left_out = admitted.left_out
            in_service = context.store.deployments.now().active or settings.model.name
            results = tuple(
                ExpectedResult(
                    output.spec.model or in_service, output.scale, output.spec.label, output.spec.destinations
                )
                for output in admitted.outputs
            )
        except NodeError as error:
            refusal = str(error)
    return RuleTest(attributes, steps, taken, rule.priority if rule else "", refusal, results, left_out)


def _plan_request(context: AppContext) -> PlanRequest:
    settings = context.settings
    scales = {card.name: card.scales for card in context.registry.cards()}
    in_service = scales.get(context.store.deployments.now().active or settings.model.name, (4, 2))
    return PlanRequest(
        settings.rules, settings.model, settings.derive.label, {routing.IN_SERVICE: in_service, **scales}
    )


@contextmanager
def _kept(context: AppContext, upload: BinaryIO) -> Iterator[Path]:
    """A file of the upload for as long as it is looked at. Raises Unreadable where it is larger than scp takes."""
    draft = context.spool.draft("in")
    try:
        most = context.settings.scp.max_object_mb << 20
        while piece := upload.read(_PIECE):
            draft.write(piece)
            most -= len(piece)
            if most < 0:
                raise Unreadable(f"larger than {context.settings.scp.max_object_mb} MB (scp.max_object_mb)")
        yield draft.read_back()
    finally:
        draft.drop()
