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
    usual: tuple[float, float] | None  # the shares of added detail that were seen in validation

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
        """The generator did what it does on radiographs; less than that, or less than rounding makes, is no danger."""
        return self.score is None or self.score <= TOLERATED_OCTAVES or self.detail.rms <= ROUNDING

    @property
    def told(self) -> str:
        """For people."""
        if not self.is_exact:
            return f"{self.wrong_blocks} blocks do not average to the source's stored value"
        share = f"added detail is {100 * self.detail.share:.2f} % of the image's contrast"
        if self.usual is None:
            return f"{share}; no usual range is known for these weights"
        return f"{share}, in validation {100 * self.usual[0]:.2f} to {100 * self.usual[1]:.2f} %"

    @property
    def remark(self) -> str:
        """What a result that is sent although it is unusual says of itself."""
        return "" if self.is_usual else f"UNUSUAL RESULT: {self.told}."

    @property
    def numbers(self) -> dict[str, Any]:
        """What is kept with the job."""
        return {
            "wrong_blocks": self.wrong_blocks,
            "added_rms": round(self.detail.rms, 4),  # stored values
            "added_share": round(self.detail.share, 6),
            "usual_share": self.usual,
            "score": None if self.score is None else round(self.score, 3),
        }


def judge(frame: Frame, pixels: NDArray[Any], card: Card) -> Quality:
    """Hold a result (sH, sW), not yet labelled, against its source."""
    scale = pixels.shape[0] // frame.values.shape[0]
    wrong = block_sums(pixels, scale) != frame.values.astype(np.int64) * scale**2
    usual = card.usual_detail.get(str(scale))
    return Quality(
        int(wrong.sum()),
        detail_of(pixels, frame),
        (usual[0], usual[1]) if usual else None,
    )


def detail_of(pixels: NDArray[Any], frame: Frame) -> Detail:
    """What a result (sH, sW) added to its source."""
    return added(pixels, frame.values, ignored=frame.is_padding)
