"""A chest radiograph drawn by formula, for demo and test: lungs, heart, spine, ribs, clavicles, vessels, quantum noise.

Attenuation is added up along the beam for each structure, exposed by Beer-Lambert, counted as photons, and shown as a
modality would: logarithmic, 12 bits, bone bright. Coordinates are fractions of the image side; x to the right, y down.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileDataset
from pydicom.uid import ComputedRadiographyImageStorage, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from dicom_sr_node.dicom.software import file_meta

Field = NDArray[np.float64]
Modality = Literal["DX", "CR"]

BITS = 12
SPACING_MM = 400 / 512  # a 40 cm field on 512 pixels
_ROOT = "2.25.98765432109876543210"  # of the phantom's own UIDs, the same in every run
_CLASSES = {"DX": DigitalXRayImageStorageForPresentation, "CR": ComputedRadiographyImageStorage}
_WHEN = datetime(2026, 1, 2, 10, 30, tzinfo=UTC)


@dataclass(frozen=True)
class Grid:
    """Pixel centres of a square image."""

    x: Field
    y: Field

    @classmethod
    def of(cls, size: int) -> Grid:
        axis = (np.arange(size) + 0.5) / size
        x, y = np.meshgrid(axis, axis)
        return cls(x, y)


def draw(size: int = 512, *, seed: int = 7) -> NDArray[np.uint16]:
    """(size, size) stored values of 12 bits, MONOCHROME2; the same for the same size and seed."""
    random = np.random.default_rng(seed)
    grid = Grid.of(size)
    attenuation = _body(grid) - _lungs(grid) + _heart(grid) + _spine(grid) + _ribs(grid) + _clavicles(grid)
    attenuation += _vessels(grid, random) * _lung_mask(grid)
    photons = 3000 * np.exp(-_blur(attenuation))  # of focus and screen
    counted = random.poisson(photons) + random.normal(0, 2, photons.shape)
    shown = -np.log(np.maximum(counted, 1) / 3000)
    low, high = 0.05, 4.35
    values = (shown - low) / (high - low) * (2**BITS - 1)
    stored: NDArray[np.uint16] = np.clip(np.rint(values), 0, 2**BITS - 1).astype(np.uint16)
    return stored


def _blur(image: Field) -> Field:
    """The binomial filter 1-2-1 along both axes."""
    padded = np.pad(image, 1, mode="edge")
    rows = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    return (rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 4


def _ellipsoid(grid: Grid, x: float, y: float, width: float, height: float, tilt: float = 0.0) -> Field:
    """The beam's path through an ellipsoid: 1 in its middle, 0 outside."""
    dx, dy = grid.x - x, grid.y - y
    across, along = dx * np.cos(tilt) + dy * np.sin(tilt), -dx * np.sin(tilt) + dy * np.cos(tilt)
    inside: Field = 1 - (across / width) ** 2 - (along / height) ** 2
    return np.sqrt(np.maximum(inside, 0))


def _edge(distance: Field, softness: float) -> Field:
    """1 where distance is far below zero, 0 far above."""
    return 1 / (1 + np.exp(np.clip(distance / softness, -50, 50)))


def _body(grid: Grid) -> Field:
    side = np.abs(grid.x - 0.5)
    outline = 0.475 - 0.055 * np.exp(-(((grid.y - 0.42) / 0.13) ** 2)) + 0.12 * np.exp(-(((grid.y - 0.22) / 0.11) ** 2))
    trunk = np.sqrt(np.maximum(1 - np.clip(side / outline, 0, 1) ** 3.5, 0))
    slope = 0.105 + 0.30 * np.maximum(side - 0.10, 0) ** 1.15  # the line from neck to shoulder
    trunk *= _edge(slope - grid.y, 0.006)
    neck = np.sqrt(np.maximum(1 - (side / (0.105 + 0.5 * np.maximum(grid.y - 0.03, 0) ** 1.5)) ** 2, 0)) * _edge(
        grid.y - 0.2, 0.03
    )
    belly = _edge(_diaphragm(grid) - grid.y, 0.010)
    return 2.0 * np.maximum(trunk, 0.95 * neck) + 0.7 * belly * trunk


def _diaphragm(grid: Grid) -> Field:
    """Height of the domes at each x: the right one (left in the image) stands higher."""
    right = 0.795 + 1.6 * (grid.x - 0.29) ** 2
    left = 0.825 + 1.6 * (grid.x - 0.71) ** 2
    return np.where(grid.x < 0.5, right, left)


def _lung_mask(grid: Grid) -> Field:
    masks = []
    for centre, tilt in ((0.305, 0.12), (0.695, -0.12)):
        dx, dy = grid.x - centre, grid.y - 0.50
        across, along = dx * np.cos(tilt) + dy * np.sin(tilt), -dx * np.sin(tilt) + dy * np.cos(tilt)
        taper = 0.170 * (1 + 0.35 * np.clip(along / 0.37, -1, 1))
        radius = np.abs(across / taper) ** 2.3 + np.abs(along / 0.385) ** 2.6
        masks.append(_edge(radius - 1, 0.025))
    return np.maximum(*masks) * _edge(grid.y - _diaphragm(grid), 0.006)


def _lungs(grid: Grid) -> Field:
    return 1.50 * _lung_mask(grid) * (0.8 + 0.2 * _ellipsoid(grid, 0.5, 0.5, 0.6, 0.6))


def _heart(grid: Grid) -> Field:
    """Left ventricle and right atrium, the aortic knob, and the vessels of the mediastinum."""
    ventricle = _blob(grid, 0.575, 0.685, 0.115, 0.165, -0.75)
    atrium = _blob(grid, 0.475, 0.675, 0.075, 0.12, 0.1)
    knob = 0.65 * _blob(grid, 0.555, 0.365, 0.042, 0.048, 0.0)
    trunk = 0.75 * _edge(np.abs(grid.x - 0.508) - 0.052, 0.008) * _edge(0.12 - grid.y, 0.02)
    merged: Field = np.maximum(np.maximum(ventricle, atrium), np.maximum(knob, trunk))
    return 1.0 * merged


def _blob(grid: Grid, x: float, y: float, width: float, height: float, tilt: float) -> Field:
    """A soft organ: nearly even inside, with an edge of a few pixels."""
    dx, dy = grid.x - x, grid.y - y
    across, along = dx * np.cos(tilt) + dy * np.sin(tilt), -dx * np.sin(tilt) + dy * np.cos(tilt)
    radius = np.hypot(across / width, along / height)
    blob: Field = _edge(radius - 1, 0.035) * (0.8 + 0.2 * np.sqrt(np.maximum(1 - radius**2, 0)))
    return blob


def _spine(grid: Grid) -> Field:
    column = _edge(np.abs(grid.x - 0.5) - 0.032, 0.004)
    discs = 0.75 + 0.25 * np.tanh(6 * np.cos(2 * np.pi * grid.y / 0.062))
    processes = np.exp(-(((grid.x - 0.5) / 0.008) ** 2)) * (0.5 + 0.5 * np.cos(2 * np.pi * grid.y / 0.062))
    spine: Field = 0.55 * column * discs + 0.18 * processes
    return spine


def _ribs(grid: Grid) -> Field:
    """Nine pairs.

    The back part falls gently from the spine, the front part steeply from the side towards the middle.
    """
    total = np.zeros_like(grid.x)
    for side in (-1, 1):
        out = side * (grid.x - 0.5)
        for number in range(9):
            top = 0.145 + 0.072 * number
            reach = 0.26 + 0.13 * np.sin(np.pi * (number + 2) / 13)
            share = np.clip(out / reach, 0, 1)
            back = top - 0.03 * np.sin(np.pi * share) + 0.075 * share**2
            front = top + 0.085 + 0.19 * (1 - share) ** 1.3
            shown = _edge(out - reach, 0.006) * _edge(0.03 - out, 0.006)
            total += 0.46 * _tube(grid.y - back, 0.0135) * shown
            total += 0.30 * _tube(grid.y - front, 0.0140) * shown * _edge(0.13 - out, 0.02) * (number < 7)
    return total


def _tube(distance: Field, radius: float) -> Field:
    """A bone seen from the side: dense shell, lighter marrow."""
    chord = np.sqrt(np.maximum(1 - (distance / radius) ** 2, 0))
    marrow = np.sqrt(np.maximum(0.62 - (distance / radius) ** 2, 0))
    return chord - 0.55 * marrow + 0.25 * (chord > 0)


def _clavicles(grid: Grid) -> Field:
    total = np.zeros_like(grid.x)
    for side in (-1, 1):
        out = side * (grid.x - 0.5)
        line = 0.205 - 0.24 * (out - 0.05) + 0.035 * np.sin(9 * out)
        total += 0.55 * _tube(grid.y - line, 0.014) * _edge(0.035 - out, 0.004) * _edge(out - 0.33, 0.01)
    return total


def _vessels(grid: Grid, random: np.random.Generator) -> Field:
    """Two trees that grow from the hila and fork until they are thinner than a pixel."""
    total = np.zeros_like(grid.x)
    for side in (-1, 1):
        for angle in np.linspace(-1.25, 1.25, 7):
            _branch(total, grid, 0.5 + side * 0.095, 0.49, angle + random.normal(0, 0.1), side, 0.0085, 0.085, random)
    return total


def _branch(
    total: Field,
    grid: Grid,
    x: float,
    y: float,
    angle: float,
    side: int,
    radius: float,
    length: float,
    random: np.random.Generator,
) -> None:
    """Add one straight vessel to `total`, then its two children."""
    if radius < 0.0009:
        return
    ends = x + side * np.cos(angle) * length, y + np.sin(angle) * length
    size = len(total)
    margin = 2 * radius
    rows, columns = (
        slice(max(0, int((min(a, b) - margin) * size)), max(0, int((max(a, b) + margin) * size) + 2))
        for a, b in ((y, ends[1]), (x, ends[0]))
    )
    dx, dy = ends[0] - x, ends[1] - y
    px, py = grid.x[rows, columns] - x, grid.y[rows, columns] - y
    along = np.clip((px * dx + py * dy) / (dx * dx + dy * dy), 0, 1)
    distance = np.hypot(px - along * dx, py - along * dy)
    piece = 55 * radius * np.sqrt(np.maximum(1 - (distance / radius) ** 2, 0))
    total[rows, columns] = np.maximum(total[rows, columns], piece)
    for turn in (-1, 1):
        _branch(
            total,
            grid,
            *ends,
            angle + turn * random.uniform(0.15, 0.55),
            side,
            radius * random.uniform(0.66, 0.82),
            length * random.uniform(0.72, 0.92),
            random,
        )


def dicom(
    pixels: NDArray[np.uint16], *, modality: Modality = "DX", inverted: bool = False, number: int = 1, study: int = 1
) -> FileDataset:
    """The phantom as a DX or CR image, MONOCHROME1 if inverted; the same bytes for the same arguments."""
    uid = f"{_ROOT}.{study}.{modality == 'CR':d}.{inverted:d}.{number}"
    meta = file_meta(_CLASSES[modality], uid, ExplicitVRLittleEndian)
    ds = FileDataset("", {}, b"\0" * 128, meta, is_implicit_VR=False, is_little_endian=True)
    _set_patient_and_study(ds, study)
    _set_series(ds, modality, f"{_ROOT}.{study}.{modality == 'CR':d}", number)
    _set_image(ds, (2**BITS - 1 - pixels) if inverted else pixels, inverted)
    if modality == "DX":
        _set_dx(ds, inverted)
    return ds


def _set_patient_and_study(ds: FileDataset, study: int) -> None:
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.PatientName, ds.PatientID = "PHANTOM^CHEST", f"PHANTOM{study}"
    ds.PatientBirthDate, ds.PatientSex = "", "O"
    ds.StudyInstanceUID, ds.StudyID = f"{_ROOT}.{study}", str(study)
    ds.StudyDate, ds.StudyTime = _WHEN.strftime("%Y%m%d"), _WHEN.strftime("%H%M%S")
    ds.AccessionNumber, ds.ReferringPhysicianName = f"DEMO{study}", ""
    ds.StudyDescription = "Chest phantom"


def _set_series(ds: FileDataset, modality: Modality, series_uid: str, number: int) -> None:
    ds.SOPClassUID, ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID
    ds.Modality, ds.SeriesInstanceUID, ds.SeriesNumber = modality, series_uid, 1
    ds.InstanceNumber, ds.SeriesDescription = number, "Chest PA"
    ds.BodyPartExamined, ds.ViewPosition = "CHEST", "PA"
    ds.Manufacturer, ds.ManufacturerModelName = "Formula", "Chest phantom"
    ds.DeviceSerialNumber, ds.SoftwareVersions = "1", "1"
    ds.AcquisitionDate = ds.ContentDate = ds.StudyDate
    ds.AcquisitionTime = ds.ContentTime = ds.StudyTime
    ds.PatientOrientation = ["L", "F"]


def _set_image(ds: FileDataset, pixels: NDArray[np.uint16], inverted: bool) -> None:
    ds.ImageType = ["ORIGINAL", "PRIMARY", ""]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME1" if inverted else "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, BITS, BITS - 1, 0
    spacing = f"{400 / pixels.shape[0]:.6g}"
    ds.ImagerPixelSpacing = [spacing, spacing]
    ds.WindowCenter, ds.WindowWidth = 2**BITS // 2, 2**BITS
    ds.BurnedInAnnotation = "NO"
    ds.PixelData = pixels.astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"


def _set_dx(ds: FileDataset, inverted: bool) -> None:
    """What the DX image modules ask for (PS3.3 C.8.11)."""
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = "LOG", 1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 0, 1, "US"
    ds.PresentationLUTShape = "INVERSE" if inverted else "IDENTITY"
    ds.LossyImageCompression = "00"
    ds.DetectorType = "DIRECT"
    ds.ImageLaterality, ds.PositionerType = "U", "NONE"
    region = Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "51185008", "SCT", "Chest"
    ds.AnatomicRegionSequence = [region]
    view = Dataset()
    view.CodeValue, view.CodingSchemeDesignator, view.CodeMeaning = "399348003", "SCT", "postero-anterior"
    ds.ViewCodeSequence = [view]
    ds.AcquisitionContextSequence = []
