"""How much each address may cost: nobody's requests, however large or many, make those of others wait."""

from __future__ import annotations

import threading
import time

_MOST_ADDRESSES = 4096


class Budget:
    """Bytes that are granted to each address: `per_s` in the long run, `at_once` after a pause."""

    def __init__(self, per_s: float, at_once: float) -> None:
        self._per_s, self._at_once = per_s, at_once
        self._lock = threading.Lock()
        self._left: dict[str, tuple[float, float]] = {}  # bytes, and when that was

    def take(self, address: str, size: int) -> float:
        """So many bytes; returns the seconds that their sender must wait first."""
        with self._lock:
            now = time.monotonic()
            left, since = self._left.get(address, (self._at_once, now))
            left = min(self._at_once, left + (now - since) * self._per_s) - size
            self._left[address] = left, now
            if len(self._left) > _MOST_ADDRESSES:
                del self._left[next(iter(self._left))]
        return max(0.0, -left / self._per_s)
