"""The last look before anything leaves: is the result the source, and is it like what the generator was measured on?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_sr_node.pixels.frame import Frame
from model.checkpoint import Card
from model.consistency import block_sums
from model.detail import ROUNDING, Detail, added

TOLERATED_OCTAVES = 1.0  # above the range seen in validation: no more than twice its highest


@dataclass(frozen=True)
class Quality:
    """What was found of one result, before any label."""

    wrong_blocks: int  # s x s blocks that do not average to the source's stored value; must be 0
    detail: Detail
    usual: tuple[float, float] | None  # the shares of added detail that were seen in validation at this noise
    is_known_noise: bool = True  # so noisy an image was seen in validation

    @property
    def score(self) -> float | None:
        """How far out of distribution the result is: octaves from its added detail to the range seen.

        0 within, positive above, negative below. None where no range is known or nothing was added.
        """
        if self.usual is None or self.detail.share == 0:
            return None
        low, high = (math.log2(self.detail.share / end) for end in self.usual)
        return max(high, 0.0) or min(low, 0.0)

    @property
    def is_exact(self) -> bool:
        """Promise two holds."""
        return self.wrong_blocks == 0

    @property
    def is_usual(self) -> bool:
        """The generator did what it does on radiographs of this noise; less than that, or than rounding makes, is no
        danger: the best classical interpolation adds nothing."""
        if self.detail.rms <= ROUNDING:
            return True
        return self.is_known_noise and (self.score is None or self.score <= TOLERATED_OCTAVES)

    @property
    def sentence(self) -> str:
        """For people."""
        if not self.is_exact:
            return f"{self.wrong_blocks} blocks do not average to the source's stored value"
        share = f"added detail is {100 * self.detail.share:.2f} % of the image's contrast"
        if not self.is_known_noise:
            return f"{share}, and its noise of {100 * self.detail.noise_share:.1f} % is above all that was validated"
        if self.usual is None:
            return f"{share}; no usual range is known for these weights"
        return f"{share}, at this noise {100 * self.usual[0]:.2f} to {100 * self.usual[1]:.2f} % in validation"

    @property
    def remark(self) -> str:
        """What a result that is sent although it is unusual says of itself."""
        return "" if self.is_usual else f"UNUSUAL RESULT: {self.sentence}."

    @property
    def numbers(self) -> dict[str, Any]:
        """What is kept with the job."""
        return {
            "wrong_blocks": self.wrong_blocks,
            "added_rms": round(self.detail.rms, 4),  # stored values
            "added_share": round(self.detail.share, 6),
            "noise_share": round(self.detail.noise_share, 6),
            "usual_share": self.usual,
            "score": None if self.score is None else round(self.score, 3),
        }


def judge(frame: Frame, pixels: NDArray[Any], card: Card) -> Quality:
    """Hold a result (sH, sW), not yet labelled, against its source."""
    scale = pixels.shape[0] // frame.values.shape[0]
    wrong = block_sums(pixels, scale) != frame.values.astype(np.int64) * scale**2
    detail = detail_of(pixels, frame)
    known = card.usual_detail.get(str(scale), [])
    usual = next(((least, greatest) for noise, least, greatest in known if detail.noise_share <= noise), None)
    return Quality(int(wrong.sum()), detail, usual, is_known_noise=not known or usual is not None)


def detail_of(pixels: NDArray[Any], frame: Frame) -> Detail:
    """What a result (sH, sW) added to its source."""
    return added(pixels, frame.values, ignored=frame.is_padding)
