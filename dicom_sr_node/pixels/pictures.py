"""PNG, JPEG and TIFF as stored gray values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dicom_sr_node.domain.errors import Unreadable

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


def read_picture(path: Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """(H, W) stored values, 8 or 16 bit; colour becomes gray. Raises Unreadable."""
    try:
        with Image.open(path) as image:
            pages = getattr(image, "n_frames", 1)
            if pages > 1:
                raise Unreadable(f"{pages} pages or frames: only single images are upscaled")
            if image.mode.startswith("I;16"):
                return np.asarray(image).astype(np.uint16)
            if image.mode in ("I", "F"):
                raise Unreadable(f"pixel format {image.mode} has more than 16 bits: only 8 and 16 bits are served")
            return np.asarray(image.convert("L"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise Unreadable(f"not a readable picture: {error}") from error
