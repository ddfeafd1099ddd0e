"""Who was turned away since it was last written down."""

from __future__ import annotations

import threading
from collections import Counter

from dicom_sr_node.domain.records import Caller

_MOST_NAMES = 1000  # that a flood can make us remember between two writes


class Refusals:
    """Counts who was turned away until somebody writes it down: a flood of callers is no flood of writes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[Caller] = Counter()

    def add(self, caller: Caller) -> None:
        """Count one more refusal of a caller."""
        with self._lock:
            if caller in self._counts or len(self._counts) < _MOST_NAMES:
                self._counts[caller] += 1

    def take(self) -> dict[Caller, int]:
        """All since the last time."""
        with self._lock:
            taken, self._counts = dict(self._counts), Counter()
        return taken
