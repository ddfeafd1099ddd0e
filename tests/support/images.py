"""Radiographs, and what is made of them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import DataElement, Dataset, dcmread
from pydicom.dataset import FileDataset

from dicom_sr_node.config.rules import Rule
from dicom_sr_node.config.working import DeriveSettings, ModelSettings
from dicom_sr_node.derive import encoding
from dicom_sr_node.domain.records import Origin
from dicom_sr_node.pixels.sandbox import DecoderProcess
from dicom_sr_node.rules.plan import PlanRequest
from dicom_sr_node.rules.routing import IN_SERVICE
from dicom_sr_node.tools import phantom
from dicom_sr_node.work.pipeline import DerivedResult, Pipeline
from model.upscaler import Upscaler

NOW = datetime(2026, 5, 4, 12, 30, 15, tzinfo=UTC)


def image(size: int = 64, **options: Any) -> FileDataset:
    """A phantom radiograph as a data set."""
    return phantom.dicom(_drawn(size, options.pop("seed", 7)).copy(), **options)


@cache
def _drawn(size: int, seed: int) -> NDArray[np.uint16]:
    return phantom.draw(size, seed=seed)


def save(ds: Dataset, path: Path) -> Path:
    ds.save_as(path, enforce_file_format=True)
    return path


def process(
    path: Path,
    decoder: DecoderProcess,
    upscaler: Upscaler,
    *,
    scale: Any = "auto",
    rules: tuple[Rule, ...] = (),
    **derive: Any,
) -> DerivedResult:
    """The first result of an image, with everything as configured by default, but no label."""
    settings = DeriveSettings(**{"label": "none", **derive})
    request = PlanRequest(rules, ModelSettings(scale=scale), settings.label, {IN_SERVICE: upscaler.scales})
    pipeline = Pipeline(decoder, lambda name: upscaler, settings)
    return pipeline.run(path, request, Origin(), NOW).results[0]


def upscale(source: Path, target: Path, decoder: DecoderProcess, upscaler: Upscaler, **more: Any) -> FileDataset:
    """The derived image of a file, written and read again."""
    target.write_bytes(encoding.plain(process(source, decoder, upscaler, **more).image))
    return dcmread(target)


def put(ds: Dataset, keyword: str, vr: str, value: object) -> Dataset:
    """An element with a value that its VR does not allow."""
    ds[keyword] = DataElement(keyword, vr, None)
    ds[keyword]._value = value
    return ds


def with_overlay(ds: Dataset, *, origin: int = 1, rows: int = 64, columns: int = 64) -> Dataset:
    """With a graphic overlay plane in group 6000."""
    for element, vr, value in (
        (0x0010, "US", rows),
        (0x0011, "US", columns),
        (0x0040, "CS", "G"),
        (0x0050, "SS", [origin, origin]),
        (0x0100, "US", 1),
        (0x0102, "US", 0),
        (0x3000, "OW", b"\1" * (rows * columns // 8)),
    ):
        ds.add_new((0x6000, element), vr, value)
    return ds


def set_pixels(ds: Dataset, values: np.ndarray) -> None:
    """Replace the pixels; the header follows in size and allocation."""
    ds.Rows, ds.Columns = values.shape
    ds.BitsAllocated = 8 * values.dtype.itemsize
    raw = values.astype(values.dtype.newbyteorder("<")).tobytes()
    ds.PixelData = raw + b"\0" * (len(raw) % 2)
    ds["PixelData"].VR = "OB" if ds.BitsAllocated == 8 else "OW"
