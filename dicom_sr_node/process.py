"""The way of an image, from the source file to the derived object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from dicom_sr_node.derive.identity import Label, Maker
from dicom_sr_node.derive.image import DerivedImage
from dicom_sr_node.pixels import gate, header
from dicom_sr_node.pixels.decode import decode
from dicom_sr_node.settings import Model
from model.checkpoint import Card
from model.upscaler import Upscaler


@dataclass(frozen=True)
class Derived:
    """A derived object, ready to be kept."""

    content: bytes  # a PS3.10 file
    described: dict[str, Any]  # the columns of `output` that describe it


def process(
    path: Path,
    upscaler: Upscaler,
    *,
    model: Model,
    label: Label,
    now: datetime,
    progress: Callable[[float], None] = lambda fraction: None,
) -> Derived:
    """One image. Raises Skipped, Unreadable, Undecodable."""
    source = header.read(path)
    with header.usable():
        header.identity_of(source)
        gate.admit(source)
        scale = gate.scale_for(source.Rows, source.Columns, model, upscaler.scales)
        frame = decode(source)
    pixels = upscaler.upscale(
        frame.values,
        scale,
        value_range=frame.value_range,
        padding=frame.padding,
        inverted=frame.inverted,
        progress=progress,
    )
    maker = maker_of(upscaler.card, scale, label)
    with header.usable():
        image = DerivedImage(source, frame, pixels, maker=maker, now=now)
        return Derived(encode(image), describe(image, upscaler.card, scale))


def maker_of(card: Card, scale: int, label: Label) -> Maker:
    """The part of a card that a derived object depends on."""
    return Maker(model=card.name, version=card.version, sha256=card.sha256, scale=scale, label=label)


def describe(image: DerivedImage, card: Card, scale: int) -> dict[str, Any]:
    """The columns of `output`."""
    return {
        "sop_class_uid": str(image.SOPClassUID),
        "sop_instance_uid": str(image.SOPInstanceUID),
        "series_uid": str(image.SeriesInstanceUID),
        "model": card.identity,
        "scale": scale,
    }


def encode(image: DerivedImage) -> bytes:
    """The bytes of the file."""
    stream = BytesIO()
    image.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
