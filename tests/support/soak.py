"""What the long tests report."""

from __future__ import annotations

from collections.abc import Callable

Row = Callable[[str, str, str], None]  # what was done, how much of it, and how it ended
