"""So many times within so many seconds, and so many at a time."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager

from dicom_sr_node.domain.errors import Busy

_MOST_KEYS = 10_000  # a flood of invented names pushes the oldest out


class Throttle:
    """Counts by key in a sliding window; of this process."""

    def __init__(self, most: int, window_s: float) -> None:
        self._most, self._window_s = most, window_s
        self._lock = threading.Lock()
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_s(self, key: str) -> float:
        """0 if one more is allowed, which then counts; else after how many seconds it will be."""
        now = time.monotonic()
        with self._lock:
            times = self._times.setdefault(key, deque())
            self._times.move_to_end(key)
            if len(self._times) > _MOST_KEYS:
                self._times.popitem(last=False)
            while times and now - times[0] >= self._window_s:
                times.popleft()
            if len(times) >= self._most:
                return self._window_s - (now - times[0])
            times.append(now)
            return 0.0

    def undo(self, key: str) -> None:
        """The last one does not count: it was the right password."""
        with self._lock:
            if times := self._times.get(key):
                times.pop()


@contextmanager
def turn(seats: threading.Semaphore) -> Iterator[None]:
    """One of a few that may do this at a time; nobody waits. Raises Busy."""
    if not seats.acquire(blocking=False):
        raise Busy("Others are at this just now: try again in a moment.")
    try:
        yield
    finally:
        seats.release()
