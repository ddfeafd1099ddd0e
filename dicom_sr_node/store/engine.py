"""The database connection, its durability, its clock, and its schema."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, Float, cast, create_engine, event, extract, func, literal_column
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError
from sqlalchemy.sql.elements import ColumnElement

from dicom_sr_node.config.node import DatabaseSettings, NodeSettings
from dicom_sr_node.domain.errors import NodeError, NotFound

P = ParamSpec("P")
T = TypeVar("T")

BUSY_TIMEOUT_MS = 30_000
_MIGRATING = 0x5352_4E4F  # any number that the node alone locks in PostgreSQL
_ON_THE_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs"}
FILE = "srnode.db"
SQLITE = "sqlite:///"
CONNECT_TIMEOUT_S = 10
# A machine that vanishes must not keep its locks for the two hours that a silent connection lives by default.
_NETWORK: dict[str, Any] = {
    "connect_timeout": CONNECT_TIMEOUT_S,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
_OF_A_SESSION = (
    "idle_in_transaction_session_timeout = '60s'",
    "tcp_keepalives_idle = 30",
    "tcp_keepalives_interval = 10",
    "tcp_keepalives_count = 3",
)


def connect(node: NodeSettings, database: DatabaseSettings, *, must_exist: bool = False) -> Engine:
    """The engine of the configured database. Raises NotFound if it `must_exist` and does not."""
    url = database.url
    if url and not url.startswith(SQLITE):
        engine = create_engine(url, pool_pre_ping=True, hide_parameters=True, connect_args=_NETWORK)
        event.listen(engine, "connect", _served)
        return engine
    path = Path(url.removeprefix(SQLITE)) if url else node.data_dir / FILE
    if must_exist and not path.is_file():
        raise NotFound(f"no database at {path}: has `srnode serve` run with this configuration (node.data_dir)?")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    kind = filesystem_of(path.parent)
    if kind in _ON_THE_NETWORK:
        raise NodeError(
            f"{path.parent} is on a network file system ({kind}), where SQLite can lose data: set node.data_dir to a "
            "local disk, or database.url to PostgreSQL"
        )
    url = f"{SQLITE}{path}"
    engine = create_engine(url, hide_parameters=True)  # in its errors: they would name patients
    event.listen(engine, "connect", _durable)
    event.listen(engine, "begin", _immediate)
    return engine


def _served(connection: Any, _record: object) -> None:
    """What a server may be set up otherwise, and what every promise rests on."""
    with connection.cursor() as cursor:
        if cursor.execute("SHOW synchronous_commit").fetchone()[0] in ("off", "local"):
            cursor.execute("SET synchronous_commit = on")  # acknowledged means safe
        for setting in _OF_A_SESSION:
            cursor.execute(f"SET {setting}")
    connection.commit()


def unsafe_server(engine: Engine) -> str:
    """Why a crash of PostgreSQL could lose what it has committed, or nothing; no client can change these."""
    if engine.dialect.name != "postgresql":
        return ""
    with reading(engine) as connection:
        off = [
            name
            for name in ("fsync", "full_page_writes")
            if connection.exec_driver_sql(f"SHOW {name}").scalar() == "off"
        ]
    return f"{' and '.join(off)} is off in PostgreSQL" if off else ""


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
            else:  # SQLite holds the write lock already
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATING})")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        raise NodeError(
            f"the database {engine.url!r} was made by a newer version of this software ({error}): install that version"
        ) from error
    except OperationalError as error:
        raise NodeError(f"the database {engine.url!r} cannot be reached or used: {error.orig}") from error
    except DatabaseError as error:
        raise NodeError(
            f"the database {engine.url!r} cannot be used: {error.orig}; keep the file and restore a backup"
        ) from error


def revision(engine: Engine) -> tuple[str, str]:
    """The revision of the schema that the database has, and the one of this version."""
    script = ScriptDirectory(str(Path(__file__).parent / "migrations"))
    with reading(engine) as connection:
        return MigrationContext.configure(connection).get_current_revision() or "", script.get_current_head() or ""


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


def again_if_beaten(write: Callable[P, T]) -> Callable[P, T]:
    """For a transaction that looks first and then inserts: if another process was first, it looks again."""

    @wraps(write)
    def tried(*arguments: P.args, **named: P.kwargs) -> T:
        try:
            return write(*arguments, **named)
        except IntegrityError:
            return write(*arguments, **named)

    return tried


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection that only reads and holds no write lock."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection


def filesystem_of(path: Path) -> str:
    """The type of the file system that holds a path, or nothing if the system does not tell."""
    try:
        lines = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return ""
    mounts = [(Path(line.split()[1].replace("\\040", " ")), line.split()[2]) for line in lines]
    around = [(len(point.parts), kind) for point, kind in mounts if path.resolve().is_relative_to(point)]
    return max(around)[1] if around else ""
