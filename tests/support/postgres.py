"""A real PostgreSQL server."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from support.tools import free_port, need, run


class Postgres:
    """A real PostgreSQL server on loopback, with a new database for whoever asks."""

    def __init__(self) -> None:
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="srnode-pg-"))
        self._count = 0

    def start(self) -> Postgres:
        """The server refuses to run as root, who hands it to the user that the package has made."""
        if os.getuid() == 0:
            shutil.chown(self._folder, "postgres", "postgres")
        self._run("initdb", "-A", "trust", "-U", "srnode", "--no-sync")
        self._control("start")
        return self

    def restart(self) -> None:
        """As after a failover: all connections break."""
        self._control("restart")

    def stop(self) -> None:
        self._control("stop")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _control(self, what: str) -> None:
        options = f"-h 127.0.0.1 -p {self.port} -k '' -c max_connections=200"
        self._run("pg_ctl", "-w", "-m", "fast", "-l", self._folder / "log", "-o", options, what)

    def _run(self, tool: str, *arguments: str | Path) -> None:
        """Debian keeps the server's programs out of the path."""
        found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{tool}"))
        program = str(found[-1]) if found else need(tool, "postgresql")
        as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        run(*as_user, program, "-D", self._folder / "db", *arguments, cwd="/")

    def url(self) -> str:
        """Of a new, empty database."""
        self._count += 1
        name = f"node{self._count}"
        assert self.sql("postgres", f"CREATE DATABASE {name}").returncode == 0
        return f"postgresql+psycopg://srnode@127.0.0.1:{self.port}/{name}"

    def sql(self, name: str, statement: str) -> subprocess.CompletedProcess[str]:
        psql = need("psql", "postgresql")
        return run(psql, "-h", "127.0.0.1", "-p", str(self.port), "-U", "srnode", "-c", statement, name, check=False)
