"""The long tests: each ends with a row of a table, which is printed at the end for docs/reliability.md."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from support.soak import Row


@pytest.fixture(scope="session")
def minutes() -> float:
    """How long a test that has no end of its own goes on: SRNODE_SOAK_MINUTES."""
    return float(os.environ.get("SRNODE_SOAK_MINUTES", "20"))


@pytest.fixture(scope="session")
def _rows() -> Iterator[list[tuple[str, str, str]]]:
    rows: list[tuple[str, str, str]] = []
    yield rows
    print("\n\n| what | how much | outcome |\n|---|---|---|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


@pytest.fixture
def row(_rows: list[tuple[str, str, str]]) -> Row:
    """Add a row: what was done, how much of it, and how it ended."""
    return lambda what, how_much, outcome: _rows.append((what, how_much, outcome))
