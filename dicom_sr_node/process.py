"""The way of an image, from the source file to the derived objects."""

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
from dicom_sr_node.derive.heat_map import heat_map
from dicom_sr_node.derive.identity import Maker
from dicom_sr_node.derive.image import DerivedImage
from dicom_sr_node.derive.report import report
from dicom_sr_node.errors import Skipped
from dicom_sr_node.pixels import header
from dicom_sr_node.pixels.frame import Frame
from dicom_sr_node.pixels.reader import Admission, Planned, Reader
from dicom_sr_node.quality import Quality
from dicom_sr_node.records import Kind, Origin, Reason
from dicom_sr_node.routing import Form
from dicom_sr_node.settings import Derive, Label, Rule
from model.checkpoint import Card
from model.upscaler import NotFinite, Upscaler

Models = Callable[[str], Upscaler]  # by the name that a form has


@dataclass(frozen=True)
class Derived:
    """What was made of an image in one form."""

    form: Form
    card: Card
    scale: int
    quality: Quality
    pixels: NDArray[Any]  # (sH, sW), without any label
    image: DerivedImage
    extras: dict[Kind, Dataset]  # heat map, report; none by default

    def objects(self) -> Iterator[tuple[Kind, Dataset]]:
        """The image, then what accompanies it."""
        yield Kind.IMAGE, self.image
        yield from self.extras.items()


@dataclass(frozen=True)
class Processed:
    """All that was made of an image, and why some of what its rule asks for was not."""

    rule: Rule
    results: tuple[Derived, ...]
    left_out: tuple[str, ...]


def process(
    path: Path,
    reader: Reader,
    models: Models,
    *,
    admission: Admission,
    wanted: Derive,
    now: datetime,
    origin: Origin = Origin(),  # noqa: B008 - frozen
    progress: Callable[[float], None] = lambda fraction: None,
) -> Processed:
    """One image, in each form that its rule asks for. Raises Skipped, Unreadable, Undecodable, DecoderDied."""
    admitted = reader.admit(path, admission, origin)
    results: list[Derived] = []
    refusals: list[Skipped] = []
    made: dict[tuple[str, int], NDArray[Any]] = {}  # pixels do not depend on the label
    for planned in admitted.plan:
        upscaler, key = models(planned.form.model), (planned.form.model, planned.scale)
        try:
            if key not in made:
                made[key] = _upscaled(admitted.frame, planned.scale, upscaler, progress)
            found = quality.judge(admitted.frame, made[key], upscaler.card)
            if not found.is_exact or (not found.is_usual and admitted.rule.unusual == "skip"):
                raise Skipped(Reason.QUALITY, found.told, found.numbers)
        except Skipped as reason:
            refusals.append(reason)
            continue
        results.append(_derived(path, admitted.frame, made[key], found, planned, upscaler, wanted, now))
    if not results:
        raise refusals[0]
    return Processed(admitted.rule, tuple(results), (*admitted.left_out, *map(str, refusals)))


def _upscaled(frame: Frame, scale: int, upscaler: Upscaler, progress: Callable[[float], None]) -> NDArray[Any]:
    """(sH, sW). Raises Skipped."""
    try:
        return upscaler.upscale(
            frame.values,
            scale,
            value_range=frame.measured_range,
            padding=frame.padding,
            inverted=frame.inverted,
            progress=progress,
        )
    except NotFinite as error:
        raise Skipped(Reason.QUALITY, str(error)) from error


def _derived(
    path: Path,
    frame: Frame,
    pixels: NDArray[Any],
    found: Quality,
    planned: Planned,
    upscaler: Upscaler,
    wanted: Derive,
    now: datetime,
) -> Derived:
    """The objects of one form. Raises Unreadable."""
    source, card = header.read(path, pixels=False), upscaler.card
    maker = maker_of(upscaler, planned.scale, planned.form.label)
    remark = f"{found.remark} {unproven_remark(card)}".strip()
    with header.usable():
        image = DerivedImage(source, frame, pixels, maker=maker, now=now, remark=remark)
        extras: dict[Kind, Dataset] = {}
        if wanted.heat_map:
            extras[Kind.HEAT_MAP] = heat_map(source, frame, found, maker, now, remark)
        if wanted.report:
            extras[Kind.REPORT] = report(source, image, found, maker, now, remark)
    return Derived(planned.form, card, planned.scale, found, pixels, image, extras)


def maker_of(upscaler: Upscaler, scale: int, label: Label) -> Maker:
    """What a derived object depends on, beside its source."""
    card = upscaler.card
    return Maker(
        model=card.name,
        version=card.version,
        sha256=card.sha256,
        scale=scale,
        label=label,
        precision=upscaler.precision,
    )


def unproven_remark(card: Card) -> str:
    """What every result of weights says that are served although they have not passed the physics suite."""
    return f"UNPROVEN WEIGHTS: {card.unproven}." if card.unproven else ""


def compare(shadow: Derived, sent: Derived) -> dict[str, Any]:
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


def describe(kind: Kind, ds: Dataset, card: Card, scale: int) -> dict[str, Any]:
    """The columns of `output`."""
    return {
        "kind": kind,
        "sop_class_uid": str(ds.SOPClassUID),
        "sop_instance_uid": str(ds.SOPInstanceUID),
        "series_uid": str(ds.SeriesInstanceUID),
        "model": card.identity,
        "scale": scale,
    }
