"""The dashboard shows an image in the window of its header, as the PACS does, wherever that window shows anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from support.images import image, save

from dicom_sr_node.pixels.decode import decode
from dicom_sr_node.pixels.frame import Frame
from dicom_sr_node.pixels.sandbox import DecoderProcess
from dicom_sr_node.web.viewer.display_window import DisplayWindow, display_windows
from dicom_sr_node.web.viewer.lightbox import LONGEST_SIDE, Lightbox


@pytest.fixture
def ds() -> Dataset:
    found = image(64)
    found.WindowCenter, found.WindowWidth = 600, 200
    return found


@pytest.fixture
def frame(ds: Dataset) -> Frame:
    return decode(ds)


def test_the_windows_of_the_header_come_first_with_their_names(ds: Dataset, frame: Frame) -> None:
    ds.WindowCenter, ds.WindowWidth = [1500, 300], [2000, 400]
    ds.WindowCenterWidthExplanation = ["NORMAL", "SOFT\x1b"]
    found = display_windows(ds, frame)
    assert found.ways[:2] == (DisplayWindow("NORMAL 1500/2000", 1500, 2000), DisplayWindow("SOFT 300/400", 300, 400))
    assert found.ways[2].name == "the image's own values"
    assert found.note == ""


def test_a_window_that_shows_nothing_is_not_taken_and_that_is_said(ds: Dataset, frame: Frame) -> None:
    ds.WindowCenter, ds.WindowWidth = 60_000, 10
    found = display_windows(ds, frame)
    assert found.ways[0].name == "the image's own values"
    assert found.ways[1] == DisplayWindow("window 60000/10", 60_000, 10)
    assert "60000/10" in found.note


def test_own_values_are_those_without_padding_in_the_units_of_the_modality(ds: Dataset, frame: Frame) -> None:
    del ds.WindowCenter, ds.WindowWidth
    ds.RescaleSlope, ds.RescaleIntercept = "2", "-100"
    values = np.linspace(1000, 2000, frame.values.size).reshape(frame.values.shape).astype(frame.values.dtype)
    values[:4] = 0
    (own,) = display_windows(ds, replace(frame, values=values, padding=(0, 0))).ways
    low, high = own.center - own.width / 2, own.center + own.width / 2
    shown = values[values > 0] * 2.0 - 100
    assert abs(low - shown.min()) < 0.02 * np.ptp(shown)
    assert abs(high - shown.max()) < 0.02 * np.ptp(shown)


@pytest.mark.parametrize("slope", ["", "0"])
def test_a_rescale_that_is_no_line_is_left_out(ds: Dataset, frame: Frame, slope: str) -> None:
    ds.RescaleSlope, ds.RescaleIntercept = slope, "5"
    found = display_windows(ds, frame)
    assert (found.slope, found.intercept) == (1.0, 0.0)


def test_original_and_result_are_reduced_to_the_same_grid(tmp_path: Path, reader: DecoderProcess) -> None:
    """Neither is shown finer than the other, whatever their sizes are."""
    side = LONGEST_SIDE + 100
    low = image(64)
    low.Rows, low.Columns = side, 101
    values = np.arange(side * 101, dtype=np.uint16).reshape(side, 101) % 4000
    low.PixelData = values.tobytes()
    high = image(64)
    high.Rows, high.Columns = 2 * side, 202
    high.PixelData = values.repeat(2, 0).repeat(2, 1).tobytes()
    source, result = save(low, tmp_path / "low.dcm"), save(high, tmp_path / "high.dcm")
    lightbox = Lightbox()
    try:
        original = lightbox.plane("source", source, None)
        derived = lightbox.plane("result", source, result)
        assert (original.factor, derived.factor) == (2, 4)
        assert original.size == (side, 101)
        assert derived.size == (2 * side, 202)
        assert original.values.shape == derived.values.shape
        assert np.array_equal(original.values + original.offset, derived.values + derived.offset)
        assert lightbox.plane("result", source, result, whole=True).factor == 1
    finally:
        lightbox.close()
