"""The database connection, its durability, its clock, and its schema."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, Float, cast, create_engine, event, extract, func, literal_column
from sqlalchemy.exc import DatabaseError
from sqlalchemy.sql.elements import ColumnElement

from dicom_sr_node.errors import NodeError, NotFound
from dicom_sr_node.settings import Settings

BUSY_TIMEOUT_MS = 30_000
FILE = "srnode.db"
SQLITE = "sqlite:///"


def connect(settings: Settings, *, must_exist: bool = False) -> Engine:
    """The engine of the configured database. Raises NotFound if it `must_exist` and does not."""
    url = settings.database.url
    if url and not url.startswith(SQLITE):
        return create_engine(url, pool_pre_ping=True)
    path = Path(url.removeprefix(SQLITE)) if url else settings.node.data_dir / FILE
    if must_exist and not path.is_file():
        raise NotFound(f"no database at {path}: has `srnode serve` run with this configuration (node.data_dir)?")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    url = f"{SQLITE}{path}"
    engine = create_engine(url)
    event.listen(engine, "connect", _durable)
    event.listen(engine, "begin", _immediate)
    return engine


def _durable(connection: sqlite3.Connection, _record: object) -> None:
    """Rollback journal with EXTRA: the folder is synced too. WAL before SQLite 3.51.3 can corrupt."""
    connection.isolation_level = None  # the driver must not begin transactions of its own
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=DELETE",
        "synchronous=EXTRA",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _immediate(connection: Connection) -> None:
    """Take the write lock at once: a deferred transaction that turns into a writer fails without waiting."""
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":  # which only reads
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def upgrade(engine: Engine) -> None:
    """Bring the schema to this version; safe to call from several processes and to repeat. Raises NodeError."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "sqlite":
                _check(connection)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except DatabaseError as error:
        raise NodeError(
            f"the database {engine.url} cannot be used: {error.orig}; keep the file and restore a backup"
        ) from error


def _check(connection: Connection) -> None:
    answer = connection.exec_driver_sql("PRAGMA quick_check").scalar()
    if answer != "ok":
        raise NodeError(
            f"the database {connection.engine.url} is damaged: {answer}; keep the file and restore a backup"
        )


def now(engine: Engine) -> ColumnElement[float]:
    """The database's clock in seconds since 1970."""
    if engine.dialect.name == "sqlite":
        return literal_column("(julianday('now') - 2440587.5) * 86400.0", Float)
    return cast(extract("epoch", func.clock_timestamp()), Float)


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection that only reads and holds no write lock."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection
