"""How long to wait after a failure: one policy for jobs, deliveries, commitment and the restarts of roles."""

from __future__ import annotations

import random
from dataclasses import dataclass

_MOST_DOUBLINGS = 30


@dataclass(frozen=True)
class RetryPolicy:
    """Pauses of first_s, 2 first_s, 4 first_s, ... up to longest_s; most_tries: 0 for no limit."""

    first_s: float
    longest_s: float
    most_tries: int = 0

    def pause_s(self, failures: int) -> float:
        """After so many failures before this one; up to a fifth shorter, so that nodes do not try in step."""
        doubled = self.first_s * 2.0 ** min(failures, _MOST_DOUBLINGS)
        return min(self.longest_s, doubled) * random.uniform(0.8, 1.0)  # noqa: S311 - no secret

    def is_spent(self, failures: int) -> bool:
        """Whether this was the last try; failures: with this one."""
        return 0 < self.most_tries <= failures
