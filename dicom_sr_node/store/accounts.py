"""Who may look in: accounts, and the passes (sessions, tokens, setup links) that let somebody in.

Of a pass only the hash is kept: who reads the database cannot use it.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any

from sqlalchemy import Engine, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from dicom_sr_node.domain.errors import NodeError, NotFound
from dicom_sr_node.store.engine import now, reading
from dicom_sr_node.store.tables import account, pass_

_SEEN_EVERY_S = 60.0  # how exactly it is known when a pass was last used
_FOR_EVER_S = 100 * 365 * 86_400.0


class AccountRole(IntEnum):
    """What somebody may do; each may also do what those before may."""

    VIEWER = 1  # look
    OPERATOR = 2  # retry, cancel, send again, download, try rules and peers
    ADMINISTRATOR = 3  # switch weights, make accounts and tokens


class PassKind(StrEnum):
    """Of a pass."""

    SESSION = "session"
    TOKEN = "token"  # noqa: S105 - no password
    SETUP = "setup"


@dataclass(frozen=True)
class Person:
    """Whoever a pass lets in."""

    name: str
    role: AccountRole
    csrf: str = ""  # what a form of this session must carry


class Accounts:
    """The tables `account` and `pass`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def any(self) -> bool:
        """Whether there is one."""
        with reading(self._engine) as connection:
            return bool(connection.scalar(select(func.count()).select_from(account)))

    def ls(self) -> list[dict[str, Any]]:
        """name, role, since."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(account.c.name, account.c.role, account.c.since).order_by(account.c.name))
            return [dict(row) for row in rows.mappings()]

    def add(self, name: str, role: AccountRole, password: str, *, by_link: str | None = None) -> None:
        """password: its argon2 hash. by_link: the secret of a setup link, which is used up.

        Raises NodeError where the name is taken, NotFound where the link is worth nothing (any more).
        """
        clock = now(self._engine)
        row = {"name": name, "role": role.name, "password": password, "since": clock}
        try:
            with self._engine.begin() as connection:
                if by_link is not None:
                    link = (pass_.c.sha256 == _hash(by_link)) & (pass_.c.kind == PassKind.SETUP)
                    if not connection.execute(delete(pass_).where(link, pass_.c.until > clock)).rowcount:
                        raise NotFound("this link was used or is too old")
                connection.execute(insert(account).values(**row))
        except IntegrityError:
            raise NodeError(f"there is an account {name!r} already") from None

    def change(self, name: str, *, role: AccountRole | None = None, password: str | None = None) -> None:
        """Its sessions end: they began under other terms. Raises NotFound; NodeError for the last administrator."""
        values = {k: v for k, v in (("role", role and role.name), ("password", password)) if v is not None}
        with self._engine.begin() as connection:
            if role is not None and role is not AccountRole.ADMINISTRATOR:
                self._keep_one_administrator(connection, name)
            if not connection.execute(update(account).where(account.c.name == name).values(**values)).rowcount:
                raise NotFound(f"no account {name!r}")
            connection.execute(delete(pass_).where(pass_.c.account == name, pass_.c.kind == PassKind.SESSION))

    def remove(self, name: str) -> None:
        """With all its passes. Raises NotFound; NodeError for the last administrator."""
        with self._engine.begin() as connection:
            self._keep_one_administrator(connection, name)
            if not connection.execute(delete(account).where(account.c.name == name)).rowcount:
                raise NotFound(f"no account {name!r}")
            connection.execute(delete(pass_).where(pass_.c.account == name))

    def hash_of(self, name: str) -> tuple[str, AccountRole] | None:
        """The argon2 hash of a password, and the role."""
        with reading(self._engine) as connection:
            row = connection.execute(select(account.c.password, account.c.role).where(account.c.name == name)).first()
        return (row.password, AccountRole[row.role]) if row else None

    def let_in(
        self, name: str, role: AccountRole, kind: PassKind, *, hours: float | None = None, note: str = ""
    ) -> str:
        """A new pass; the secret is returned once and never kept."""
        secret, clock = secrets.token_urlsafe(32), now(self._engine)
        until = clock + (hours * 3600 if hours is not None else _FOR_EVER_S)
        row = {"sha256": _hash(secret), "kind": kind, "account": name, "role": role.name, "note": note[:64]}
        with self._engine.begin() as connection:
            connection.execute(delete(pass_).where(pass_.c.until < clock))
            if kind is PassKind.SETUP:
                connection.execute(delete(pass_).where(pass_.c.kind == kind))
            connection.execute(insert(pass_).values(**row, since=clock, until=until, seen_at=clock))
        return secret

    def who(self, secret: str, kind: PassKind) -> Person | None:
        """Whom a pass lets in, as what their account is now."""
        clock = now(self._engine)
        own = (pass_.c.sha256 == _hash(secret)) & (pass_.c.kind == kind)
        statement = select(pass_, account.c.role.label("now_role"), (clock - pass_.c.seen_at).label("unseen_s"))
        statement = statement.outerjoin(account, account.c.name == pass_.c.account)
        with reading(self._engine) as connection:
            row = connection.execute(statement.where(own, pass_.c.until > clock)).mappings().first()
        if row is None or (row["account"] and row["now_role"] is None):
            return None
        if row["unseen_s"] > _SEEN_EVERY_S:
            with self._engine.begin() as connection:
                connection.execute(update(pass_).where(own).values(seen_at=clock))
        role = (
            AccountRole[row["role"]]
            if row["now_role"] is None
            else min(AccountRole[row["role"]], AccountRole[row["now_role"]])
        )
        return Person(row["account"], role, csrf=_hash(f"csrf {secret}"))

    def end(self, secret: str) -> None:
        """A pass lets nobody in any more."""
        self.revoke(_hash(secret))

    def revoke(self, sha256: str) -> bool:
        """A pass by its hash; False if there is none."""
        with self._engine.begin() as connection:
            return bool(connection.execute(delete(pass_).where(pass_.c.sha256 == sha256)).rowcount)

    def tokens(self) -> list[dict[str, Any]]:
        """All tokens, without their secrets."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(pass_).where(pass_.c.kind == PassKind.TOKEN).order_by(pass_.c.since))
            return [dict(row) for row in rows.mappings()]

    def _keep_one_administrator(self, connection: Any, name: str) -> None:
        administrators = (
            select(account.c.name).where(account.c.role == AccountRole.ADMINISTRATOR.name).with_for_update()
        )
        if set(connection.scalars(administrators)) == {name}:
            raise NodeError(f"{name!r} is the only administrator: make another one first")


def _hash(secret: str) -> str:
    """A secret has 256 bits of its own: it needs no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()
