"""Accounts, as an administrator makes and changes them."""

from __future__ import annotations

import re

from dicom_sr_node.domain.errors import NodeError
from dicom_sr_node.store.accounts import AccountRole
from dicom_sr_node.web.auth import access
from dicom_sr_node.web.base.context import AppContext

_NAME = re.compile(r"[\w.@+-]{1,64}")


def add(context: AppContext, name: str, role: str, password: str, *, by_link: str | None = None) -> None:
    """A new account. Raises NodeError."""
    if not _NAME.fullmatch(name.strip()):
        raise NodeError("a name has 1 to 64 letters, digits or any of . @ + - _")
    hashed = access.hashed(password, name.strip())
    context.store.accounts.add(name.strip(), role_of(role), hashed, by_link=by_link)


def change(context: AppContext, name: str, role: str, password: str) -> None:
    """Another role, another password, or both. Raises NodeError."""
    if not role and not password:
        raise NodeError("nothing was to be changed: give a role or a password")
    hashed = access.hashed(password, name) if password else None
    context.store.accounts.change(name, role=role_of(role) if role else None, password=hashed)


def role_of(name: str) -> AccountRole:
    """Raises NodeError."""
    try:
        return AccountRole[name.upper()]
    except KeyError:
        raise NodeError(
            f"no role {name[:40]!r}; there are {', '.join(role.name.lower() for role in AccountRole)}"
        ) from None
