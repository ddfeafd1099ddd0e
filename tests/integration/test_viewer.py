"""Original and derived image in the viewer that staff have: same grey scale, same millimetres.

Orthanc's web viewer in headless Chromium, asked for its lossless pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from support.browser import Browser, picture
from support.images import save
from support.node import Node
from support.orthanc import Orthanc
from support.tools import need, run, shared, started, wait_until

PLUGINS = Path("/usr/share/orthanc/plugins")
TOLERANCE = 0.005  # of the screen's range
BEST_QUALITY = "Object.defineProperty(window, 'compression', { value: 'deflate', writable: false })"
READY = """
    cornerstone.getEnabledElement(document.getElementById('dicomImage')).image
    && document.getElementById('bottomleft').textContent.startsWith('WW/WL:')
"""
SHOWN = """(async () => {
    await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
    const element = document.getElementById('dicomImage');
    const image = cornerstone.getEnabledElement(element).image;
    const at = (x, y) => cornerstone.pageToPixel(element, x, y);
    const corner = (x, y) => cornerstone.pixelToCanvas(element, { x, y });
    const [from, to] = [at(400, 300), at(700, 500)];
    const [first, last] = [corner(0, 0), corner(image.width, image.height)];
    return {
        mm: [(to.x - from.x) * image.columnPixelSpacing, (to.y - from.y) * image.rowPixelSpacing],
        box: [first.x, first.y, last.x, last.y],
        png: element.querySelector('canvas').toDataURL('image/png'),
    };
})()"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started(Browser()) as browser:
        yield browser


@pytest.fixture
def viewer(tmp_path: Path) -> Iterator[Orthanc]:
    """An Orthanc with its web viewer."""
    if not (PLUGINS / "libOrthancWebViewer.so").exists():
        pytest.skip("the web viewer is not installed: apt-get install orthanc-webviewer")
    plugins = [str(PLUGINS / "libOrthancWebViewer.so")]
    cache = {"CachePath": str(tmp_path / "cache")}
    with started(Orthanc(tmp_path / "orthanc", Plugins=plugins, WebViewer=cache, StableAge=1)) as orthanc:
        yield orthanc


@pytest.mark.parametrize("window", [True, False], ids=["as it is", "without its window"])
def test_original_and_derived_look_the_same_and_measure_the_same(
    tmp_path: Path, viewer: Orthanc, browser: Browser, window: bool
) -> None:
    ds = dcmread(shared("dicom", "cr-fuji-chest-10bit-mono1.dcm"))
    if not window:
        del ds.WindowCenter, ds.WindowWidth  # the viewer makes one of the lowest and highest value
    original, derived = _shown(save(ds, tmp_path / "source.dcm"), viewer, browser, tmp_path)
    assert derived["mm"] == pytest.approx(original["mm"], rel=1e-6)
    theirs, ours = _statistics(original), _statistics(derived)
    assert np.ptp(theirs) > 50  # something is to be seen
    assert np.abs(theirs - ours).max() < TOLERANCE * 255


def test_of_several_windows_the_derived_image_shows_the_first(
    tmp_path: Path, viewer: Orthanc, browser: Browser
) -> None:
    several, first = (dcmread(shared("dicom", "cr-fuji-chest-10bit-mono1.dcm")) for _ in range(2))
    several.WindowCenter, several.WindowWidth = ["500", "300"], ["900", "100"]
    first.WindowCenter, first.WindowWidth = "500", "900"
    first.SOPInstanceUID = first.file_meta.MediaStorageSOPInstanceUID = first.SOPInstanceUID + ".1"
    first.SeriesInstanceUID += ".1"
    _store(save(first, tmp_path / "first.dcm"), viewer)
    with started(Node.configure(tmp_path, peers={"ORTHANC": viewer.port})) as node:
        node.storescu(save(several, tmp_path / "several.dcm"))
        node.wait(jobs=1)
    theirs = _series(viewer, first.SeriesInstanceUID)
    original, derived = _look(browser, viewer, theirs), _look(browser, viewer, _other(viewer, theirs))
    assert np.abs(_statistics(original) - _statistics(derived)).max() < TOLERANCE * 255


def _shown(path: Path, orthanc: Orthanc, browser: Browser, tmp_path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The original, sent to Orthanc and to the node, and what the node sends to Orthanc."""
    _store(path, orthanc)
    with started(Node.configure(tmp_path, peers={"ORTHANC": orthanc.port})) as node:
        node.storescu(path)
        node.wait(jobs=1)
    theirs = _series(orthanc, str(dcmread(path, stop_before_pixels=True).SeriesInstanceUID))
    return _look(browser, orthanc, theirs), _look(browser, orthanc, _other(orthanc, theirs))


def _store(path: Path, orthanc: Orthanc) -> None:
    run(need("storescu", "dcmtk"), "-aec", "ORTHANC", "127.0.0.1", str(orthanc.port), path)


def _series(orthanc: Orthanc, uid: str) -> str:
    found = orthanc.get("/series?expand")
    (series,) = [one["ID"] for one in found if one["MainDicomTags"]["SeriesInstanceUID"] == uid]
    return str(series)


def _other(orthanc: Orthanc, known: str) -> str:
    (series,) = {one["ID"] for one in orthanc.get("/series?expand")} - {known}
    return str(series)


def _look(browser: Browser, orthanc: Orthanc, series: str) -> dict[str, Any]:
    wait_until(lambda: orthanc.get(f"/series/{series}")["IsStable"], 30, "a stable series")
    url = f"http://127.0.0.1:{orthanc.http}/web-viewer/app/viewer.html?series={series}"
    browser.open(url, READY, first=BEST_QUALITY)
    shown: dict[str, Any] = browser.run(SHOWN)
    return shown


def _statistics(shown: dict[str, Any]) -> NDArray[np.float64]:
    """Mean and percentiles of what is on the screen, without the rim and without the lines of the label.

    Percentiles between the grey levels, each spread over its width: whole ones would be as coarse as the tolerance.
    """
    left, top, right, bottom = shown["box"]
    width, height = right - left, bottom - top
    gray = picture(shown["png"])[
        round(top + 0.02 * height) : round(bottom - 0.12 * height),
        round(left + 0.02 * width) : round(right - 0.02 * width),
    ]
    counts = np.bincount(gray.ravel(), minlength=256)
    below = np.concatenate(([0], counts.cumsum())) / counts.sum()
    percentiles = np.interp(np.array([1, 5, 25, 50, 75, 95, 99]) / 100, below, np.arange(257) - 0.5)
    return np.concatenate(([gray.mean()], percentiles))
