"""Who is there, and whether they may: sessions with CSRF protection for people, tokens for programs."""

from __future__ import annotations

import hmac
import ipaddress
import threading
from collections.abc import Callable
from typing import Annotated

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from fastapi import Depends, Form, HTTPException, Path, Query, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from dicom_sr_node.config.settings import Settings
from dicom_sr_node.domain.errors import NodeError
from dicom_sr_node.store.accounts import AccountRole, Accounts, PassKind, Person
from dicom_sr_node.web.base.context import AppContext, context_of
from dicom_sr_node.web.base.problems import LoginNeeded

COOKIE = "srnode"
LARGEST = 2**31 - 1  # of the number of a row, in both databases
SHORTEST_PASSWORD, FEWEST_CHARACTERS = 10, 5

_hasher = PasswordHasher()
_hashing = threading.Semaphore(2)  # each takes 64 MiB
_NOBODY = _hasher.hash("no password of anybody")  # a name that does not exist takes as long as one that does


def hashed(password: str, name: str) -> str:
    """argon2id. Raises NodeError for a password that anybody would try."""
    if not SHORTEST_PASSWORD <= len(password) <= 1000:
        raise NodeError(f"a password has {SHORTEST_PASSWORD} to 1000 characters")
    if len(set(password.strip())) < FEWEST_CHARACTERS or name.lower() in (password.lower(), password.lower()[::-1]):
        raise NodeError(f"a password is not the name, and has at least {FEWEST_CHARACTERS} different characters")
    with _hashing:
        return _hasher.hash(password)


def check(accounts: Accounts, name: str, password: str) -> AccountRole | None:
    """The role of somebody whose password this is."""
    known = accounts.hash_of(name)
    with _hashing:
        try:
            _hasher.verify(known[0] if known else _NOBODY, password[:1000])
        except (Argon2Error, InvalidHashError):
            return None
    return known[1] if known else None


def address_of(request: Request) -> str:
    """Of the socket."""
    return request.client.host if request.client else ""


def network_of(address: str) -> str:
    """Of an address: of IPv4 the first three bytes, of IPv6 what one customer has."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((ip, 24 if ip.version == 4 else 64), strict=False))


def inside(path: str) -> str:
    """A page of ours to go to, and nowhere else."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() else "/"


def cookie_name(settings: Settings) -> str:
    """With https no other service of this host can set it."""
    return f"__Host-{COOKIE}" if settings.web.certificate else COOKIE


def secret_of(request: Request) -> str:
    """Of the session, or nothing."""
    return request.cookies.get(cookie_name(context_of(request).settings), "")


def somebody(request: Request) -> Person | None:
    """Whoever the session's cookie belongs to."""
    secret = secret_of(request)
    return context_of(request).store.accounts.who(secret, PassKind.SESSION) if secret else None


def anybody(request: Request) -> Person | None:
    """Whoever asks, by session or token: before a large body is read."""
    kind, _, secret = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return context_of(request).store.accounts.who(secret, PassKind.TOKEN)
    return somebody(request)


def _page(least: AccountRole) -> Callable[[Request], Person]:
    def person(request: Request) -> Person:
        caller = somebody(request)
        if caller is None:
            raise LoginNeeded(request.url.path if request.method == "GET" else "/")
        return _allowed(caller, least)

    return person


def _form(least: AccountRole) -> Callable[[Request, str], Person]:
    """For what changes something: the form must be one that this session was given."""

    def person(request: Request, csrf: Annotated[str, Form()] = "") -> Person:
        caller = _page(least)(request)
        if not hmac.compare_digest(csrf.encode(), caller.csrf.encode()):
            raise HTTPException(403, "This form is not from this session: load the page again.")
        return caller

    return person


_bearer = HTTPBearer(auto_error=False, description="A token that an administrator has made under People.")


def _program(least: AccountRole) -> Callable[[Request, HTTPAuthorizationCredentials | None], Person]:
    def person(
        request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)] = None
    ) -> Person:
        caller = context_of(request).store.accounts.who(given.credentials, PassKind.TOKEN) if given else None
        if caller is None:
            raise HTTPException(401, "A token is needed: Authorization: Bearer TOKEN.", {"WWW-Authenticate": "Bearer"})
        return _allowed(caller, least)

    return person


def not_enough(person: Person, least: AccountRole) -> str:
    """Why somebody may not, or nothing."""
    if person.role >= least:
        return ""
    return f"{person.role.name.lower()} is not enough: this needs {least.name.lower()}."


def _allowed(person: Person, least: AccountRole) -> Person:
    if why := not_enough(person, least):
        raise HTTPException(403, why)
    return person


Number = Annotated[int, Path(ge=1, le=LARGEST)]
Text = Annotated[str, Query(max_length=200)]
Context = Annotated[AppContext, Depends(context_of)]
Viewer = Annotated[Person, Depends(_page(AccountRole.VIEWER))]
Operator = Annotated[Person, Depends(_page(AccountRole.OPERATOR))]
Administrator = Annotated[Person, Depends(_page(AccountRole.ADMINISTRATOR))]
OperatorActs = Annotated[Person, Depends(_form(AccountRole.OPERATOR))]
AdministratorActs = Annotated[Person, Depends(_form(AccountRole.ADMINISTRATOR))]
ViewerActs = Annotated[Person, Depends(_form(AccountRole.VIEWER))]
ViewerToken = Annotated[Person, Depends(_program(AccountRole.VIEWER))]
OperatorToken = Annotated[Person, Depends(_program(AccountRole.OPERATOR))]
AdministratorToken = Annotated[Person, Depends(_program(AccountRole.ADMINISTRATOR))]
