"""The whole database as plain rows, the same for SQLite and PostgreSQL: for backups, and to move between the two."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Engine, func, insert, select, text

from dicom_sr_node.domain.errors import NodeError
from dicom_sr_node.store.tables import metadata

_NOT_KEPT = {"slot"}  # which processes are running now
_BATCH = 500


def rows(engine: Engine) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every row of every table as (table, columns), in an order that can be loaded, at one moment."""
    if engine.dialect.name == "sqlite":
        opened = engine.connect()  # a transaction is begun with the write lock: nothing changes meanwhile
    else:
        opened = engine.connect().execution_options(isolation_level="REPEATABLE READ")
    with opened as connection, connection.begin():
        for table in metadata.sorted_tables:
            if table.name not in _NOT_KEPT:
                for row in connection.execute(select(table)).mappings():
                    yield table.name, dict(row)


def load(engine: Engine, dumped: Iterable[tuple[str, dict[str, Any]]]) -> int:
    """Fill an empty database, all or nothing; returns how many rows. Raises NodeError if it is not empty."""
    count = 0
    with engine.begin() as connection:
        for table in metadata.sorted_tables:
            if table.name not in _NOT_KEPT and connection.scalar(select(func.count()).select_from(table)):
                raise NodeError(f"the database is not empty (table {table.name}): restore into a new one")
        batch: list[dict[str, Any]] = []
        current = ""
        for name, row in dumped:
            if batch and (name != current or len(batch) == _BATCH):
                connection.execute(insert(metadata.tables[current]), batch)
                batch = []
            current = name
            batch.append(row)
            count += 1
        if batch:
            connection.execute(insert(metadata.tables[current]), batch)
        if engine.dialect.name == "postgresql":
            for table in metadata.sorted_tables:
                if "id" in table.c:
                    connection.execute(
                        text(
                            f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), "  # noqa: S608 - our own name
                            f"(SELECT coalesce(max(id), 0) + 1 FROM {table.name}), false)"
                        )
                    )
    return count
