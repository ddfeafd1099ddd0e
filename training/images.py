"""Radiographs for training: found, read once, and held in memory or in a cache on disk."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.intensity import Window
from training import dicom
from training.config import ConfigError, Data, View

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
VIEWS: tuple[View, ...] = ("native", "whole", "fit")  # in the order in which they are held
Pixels = NDArray[Any]  # uint8 or uint16


@dataclass(frozen=True)
class Gray:
    """An image as it is stored: (H, W) of 8 or 16 bits, more is brighter, `peak` is the highest value it could hold."""

    pixels: Pixels
    peak: int


@dataclass(frozen=True)
class Radiograph:
    """One image to train on or to validate with, in stored values; in memory, or in files opened when needed."""

    path: Path
    window: Window
    peak: int
    shape: tuple[int, ...]  # (H, W) at native resolution
    held: tuple[Pixels, ...] | tuple[Path, ...]  # native, whole and fit
    views: tuple[View, ...] = ("whole", "fit", "native")  # what it is used for

    @property
    def pixels(self) -> Pixels:
        """(H, W) at native resolution."""
        return _opened(self.held[0])

    @property
    def whole(self) -> Pixels:
        """(whole_size, whole_size): all of it as a square, as in the seed's protocol."""
        return _opened(self.held[1])

    @property
    def fit(self) -> Pixels:
        """All of it with its aspect ratio, the shorter side whole_size."""
        return _opened(self.held[2])

    def view(self, view: View) -> Pixels:
        """The pixels of a view."""
        return _opened(self.held[VIEWS.index(view)])

    def serves(self, view: View) -> bool:
        """Whether it is used for a view."""
        return view in self.views


def _opened(pixels: Pixels | Path) -> Pixels:
    return np.load(pixels, mmap_mode="r") if isinstance(pixels, Path) else pixels


def find_images(root: Path, option: str = "data.root") -> list[Path]:
    """All images below a folder, sorted; `option` is where the user gives it. Raises ConfigError."""
    if not root.is_dir():
        raise ConfigError(f"{option} = {root}: there is no such folder; give the folder of the images")
    paths = sorted(path for path in _files(root) if is_picture(path) or dicom.is_dicom(path))
    if not paths:
        raise ConfigError(f"{option} = {root}: no image ({', '.join(PICTURES)} or DICOM) below this folder")
    return paths


def _files(root: Path) -> Iterator[Path]:
    """All files below a folder, through links too, but into no folder twice."""
    seen = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        yield from (path for name in names if not _is_hidden(name) and (path := Path(folder, name)).is_file())


def _is_hidden(name: str) -> bool:
    """Dot files, and what macOS puts beside each image of an archive (Kermany's has 5856 of these)."""
    return name.startswith(".") or name == "__MACOSX"


def is_picture(path: Path) -> bool:
    """Whether the name says so; all other images are DICOM."""
    return path.suffix.lower() in PICTURES


def read_gray(path: Path) -> Gray:
    """An image or DICOM file as stored gray values. Raises ValueError for a file that holds none."""
    try:
        return _read_picture(path) if is_picture(path) else Gray(*dicom.read(path))
    except Exception as error:  # each codec raises its own kinds; all mean that the file cannot be used
        raise ValueError(str(error) or repr(error)) from error


def _read_picture(path: Path) -> Gray:
    with Image.open(path) as image:
        if image.mode.startswith("I;16"):
            return Gray(np.asarray(image).astype(np.uint16), 65535)
        if image.mode in ("I", "F"):
            raise ValueError(f"its values have 32 bits (mode {image.mode}); convert it to 8 or 16 bits")
        return Gray(np.asarray(image.convert("L")), 255)


def resize(pixels: Pixels, width: int, height: int, peak: int, how: Image.Resampling) -> Pixels:
    """Resample stored values: (H, W) -> (height, width), same dtype."""
    if pixels.dtype == np.uint8:
        return np.asarray(Image.fromarray(pixels).resize((width, height), how))
    values = np.asarray(Image.fromarray(pixels.astype(np.float32)).resize((width, height), how))
    rounded: Pixels = np.rint(values).clip(0, peak).astype(pixels.dtype)
    return rounded


def shrink(gray: Gray, size: int) -> Pixels:
    """The whole image as a square, by antialiased bicubic: -> (size, size)."""
    return resize(gray.pixels, size, size, gray.peak, Image.Resampling.BICUBIC)


def fit(gray: Gray, size: int) -> Pixels:
    """The whole image with its aspect ratio, the shorter side `size`, by antialiased bicubic."""
    height, width = gray.pixels.shape
    factor = size / min(height, width)
    sides = (max(size, round(width * factor)), max(size, round(height * factor)))
    return resize(gray.pixels, *sides, gray.peak, Image.Resampling.BICUBIC)


def load(paths: Sequence[Path], data: Data) -> tuple[list[Radiograph], list[str]]:
    """Read images; returns them with one line for each file that was skipped, and why. Raises ConfigError."""
    smallest = data.crop if data.shares["native"] else 1

    def one(path: Path) -> Radiograph | str:
        try:
            image = _read(path, data) if data.cache is None else _cached(path, data, data.cache)
            image = replace(image, views=_views(path, data))
        except (OSError, ValueError) as error:
            return f"{path}: skipped, {error}"
        if image.serves("native") and min(image.shape) < smallest:
            return f"{path}: skipped, {image.shape[1]}x{image.shape[0]} is smaller than data.crop = {data.crop}"
        return image

    with ThreadPoolExecutor() as pool:
        results = list(pool.map(one, paths))
    images = [result for result in results if isinstance(result, Radiograph)]
    if not images:
        raise ConfigError(f"data.root = {data.root}: none of {len(paths)} images can be used; the first: {results[0]}")
    for view, share in data.shares.items():
        if share and view != "phantom" and not any(image.serves(view) for image in images):
            raise ConfigError(
                f"data.native = {list(data.native)}: no image is left for the view {view!r}, which has a share of "
                f"{share:g}; name other folders below data.root, or set its share to 0"
            )
    return images, [result for result in results if isinstance(result, str)]


def _views(path: Path, data: Data) -> tuple[View, ...]:
    """What an image is used for: parts at native resolution lie in folders of their own, if `data.native` says so."""
    if not data.native:
        return VIEWS
    folders = path.relative_to(data.root).parts[:-1]
    return ("native",) if any(name in folders for name in data.native) else ("whole", "fit")


def _read(path: Path, data: Data) -> Radiograph:
    gray = read_gray(path)
    views = (gray.pixels, shrink(gray, data.whole_size), fit(gray, data.whole_size))
    return Radiograph(path, Window.of(gray.pixels), gray.peak, gray.pixels.shape, views)


def _cached(path: Path, data: Data, folder: Path) -> Radiograph:
    """The image from files that are made once; a file that changes gets other names."""
    status = path.stat()
    name = f"{path.resolve()} {status.st_size} {status.st_mtime_ns} {data.whole_size}"
    key = hashlib.sha256(os.fsencode(name)).hexdigest()
    files = tuple(folder / f"{key}.{view}.npy" for view in VIEWS)
    described = folder / f"{key}.json"
    values = _description(described) if all(file.exists() for file in files) else None
    if values is None:
        image = _read(path, data)
        values = {"window": [image.window.dark, image.window.bright], "peak": image.peak, "shape": image.shape}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for file, pixels in zip(files, (image.pixels, image.whole, image.fit), strict=True):
                _write(file, partial(np.save, arr=pixels))
            _write(described, lambda kept: kept.write(json.dumps(values).encode()))
        except OSError as error:
            raise ConfigError(f"data.cache = {folder}: {error}") from error
    return Radiograph(path, Window(*values["window"]), values["peak"], tuple(values["shape"]), files)


def _description(path: Path) -> dict[str, Any] | None:
    """What the cache says of an image, or None where it says nothing that can be read."""
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values


def _write(path: Path, fill: Callable[[BinaryIO], object]) -> None:
    """Several processes may make the same file at once; each writes its own and renames it."""
    written = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.tmp")
    with written.open("wb") as file:
        fill(file)
    written.replace(path)


def fingerprint(images: Sequence[Radiograph], root: Path) -> str:
    """Changes when an image comes, goes or gets another size or place below the root."""
    listing = "\n".join(f"{os.path.relpath(image.path, root)} {image.shape}" for image in images)
    return hashlib.sha256(os.fsencode(listing)).hexdigest()
