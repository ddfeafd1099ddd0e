"""The way of an image, from the source file to the derived objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydicom import Dataset

from dicom_sr_node import quality
from dicom_sr_node.derive.heat_map import heat_map
from dicom_sr_node.derive.identity import Maker
from dicom_sr_node.derive.image import DerivedImage
from dicom_sr_node.derive.report import report
from dicom_sr_node.errors import Skipped
from dicom_sr_node.pixels import header
from dicom_sr_node.pixels.reader import Admission, Reader
from dicom_sr_node.quality import Quality
from dicom_sr_node.records import Kind, Reason
from dicom_sr_node.settings import Derive, Rule
from model.checkpoint import Card
from model.upscaler import NotFinite, Upscaler


@dataclass(frozen=True)
class Derived:
    """What was made of an image."""

    rule: Rule
    scale: int
    quality: Quality
    image: DerivedImage
    extras: dict[Kind, Dataset]  # heat map, report; none by default

    def objects(self) -> Iterator[tuple[Kind, Dataset]]:
        """The image, then what accompanies it."""
        yield Kind.IMAGE, self.image
        yield from self.extras.items()


def process(
    path: Path,
    reader: Reader,
    upscaler: Upscaler,
    *,
    admission: Admission,
    wanted: Derive,
    now: datetime,
    progress: Callable[[float], None] = lambda fraction: None,
) -> Derived:
    """One image. Raises Skipped, Unreadable, Undecodable, DecoderDied."""
    admitted = reader.admit(path, admission)
    frame, scale, rule = admitted.frame, admitted.scale, admitted.rule
    try:
        pixels = upscaler.upscale(
            frame.values,
            scale,
            value_range=frame.measured_range,
            padding=frame.padding,
            inverted=frame.inverted,
            progress=progress,
        )
    except NotFinite as error:
        raise Skipped(Reason.QUALITY, str(error)) from error
    found = quality.judge(frame, pixels, upscaler.card)
    if not found.is_exact or (not found.is_usual and rule.unusual == "skip"):
        raise Skipped(Reason.QUALITY, found.told, found.numbers)
    source = header.read(path, pixels=False)
    maker = maker_of(upscaler.card, scale, wanted.label)
    with header.usable():
        image = DerivedImage(source, frame, pixels, maker=maker, now=now, remark=found.remark)
        extras: dict[Kind, Dataset] = {}
        if wanted.heat_map:
            extras[Kind.HEAT_MAP] = heat_map(source, frame, found, maker, now)
        if wanted.report:
            extras[Kind.REPORT] = report(source, image, found, maker, now)
    return Derived(rule, scale, found, image, extras)


def maker_of(card: Card, scale: int, label: Literal["burned", "overlay", "none"]) -> Maker:
    """The part of a card that a derived object depends on."""
    return Maker(model=card.name, version=card.version, sha256=card.sha256, scale=scale, label=label)


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
