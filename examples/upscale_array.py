"""Upscale an array of stored values, without DICOM: python examples/upscale_array.py [IMAGE.png]"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from dicom_sr_node.pixels.pictures import read_picture
from dicom_sr_node.tools import phantom
from model.upscaler import Upscaler

values = read_picture(Path(sys.argv[1])) if len(sys.argv) > 1 else phantom.draw(128)
upscaler = Upscaler.load("xr-lite")
result = upscaler.upscale(values, scale=4)

rows, columns = values.shape
means = result.reshape(rows, 4, columns, 4).mean(axis=(1, 3))
print(f"{columns}x{rows} -> {result.shape[1]}x{result.shape[0]} by {upscaler.card.identity} on {upscaler.device}")
print(f"every 4x4 block averages to its source pixel: {np.array_equal(means, values)}")
