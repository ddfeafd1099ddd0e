"""Coming and going: login, logout, the link that makes the first account, and how often somebody may guess."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from dicom_sr_node.domain.errors import NodeError, NotFound
from dicom_sr_node.store.accounts import AccountRole, PassKind
from dicom_sr_node.web.auth import access, accounts
from dicom_sr_node.web.auth.access import Context, Text, ViewerActs, address_of
from dicom_sr_node.web.base.body_limit import BodyLimitRoute
from dicom_sr_node.web.base.context import AppContext
from dicom_sr_node.web.base.rendering import back, render

pages = APIRouter(include_in_schema=False, route_class=BodyLimitRoute)


@pages.get("/login")
def login_page(request: Request, context: Context, to: Text = "") -> Response:
    """The form. to: the page that was wanted."""
    if access.somebody(request):
        return back(context, access.inside(to))
    return render(request, "login.html", first=not context.store.accounts.any(), to=access.inside(to))


@pages.post("/login")
def login(
    request: Request,
    context: Context,
    name: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    to: Annotated[str, Form()] = "",
) -> Response:
    """A session for whoever knows the password."""
    address = address_of(request)
    not_too_often(context, name, address)
    role = access.check(context.store.accounts, name, password)
    if role is None:
        context.note(name[:64], address, "login failed", failed=True)
        message, to = "Name or password is wrong.", access.inside(to)
        return render(request, "login.html", status=401, told=message, well=False, name=name[:64], first=False, to=to)
    was_right(context, name, address)
    return _enter(request, context, name, role, access.inside(to))


@pages.post("/logout")
def logout(request: Request, context: Context, person: ViewerActs) -> RedirectResponse:
    """The session ends, and the browser forgets what it has kept."""
    context.store.accounts.end(access.secret_of(request))
    context.note(person.name, address_of(request), "logout")
    answer = back(context, "/login", "You are logged out.")
    secure = context.settings.web.certificate is not None
    answer.delete_cookie(access.cookie_name(context.settings), secure=secure, httponly=True, samesite="strict")
    answer.headers["Clear-Site-Data"] = '"cache"'
    return answer


@pages.get("/setup")
def setup_page(request: Request, context: Context, key: Text = "") -> HTMLResponse:
    """The first account, for whoever has the link that was printed."""
    if context.store.accounts.who(key, PassKind.SETUP) is None:
        raise _worthless()
    return render(request, "setup.html", key=key)


@pages.post("/setup")
def setup(
    request: Request,
    context: Context,
    key: Annotated[str, Form()] = "",
    name: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
) -> Response:
    """Make an administrator; the link is used up."""
    address = address_of(request)
    not_too_often(context, "", address)
    if context.store.accounts.who(key, PassKind.SETUP) is None:
        raise _worthless()
    try:
        accounts.add(context, name, AccountRole.ADMINISTRATOR.name, password, by_link=key)
    except NotFound:
        raise _worthless() from None
    except NodeError as error:
        return render(request, "setup.html", status=400, key=key, told=str(error), well=False, name=name[:64])
    context.note(name, address, "made the account of an administrator by the setup link")
    return _enter(request, context, name.strip(), AccountRole.ADMINISTRATOR, "/")


def _worthless() -> HTTPException:
    return HTTPException(403, "This link was used or is too old. `srnode users link` prints another one.")


def _enter(request: Request, context: AppContext, name: str, role: AccountRole, to: str) -> RedirectResponse:
    """A new session; the one that this browser had is over."""
    web = context.settings.web
    context.store.accounts.end(access.secret_of(request))
    secret = context.store.accounts.let_in(name, role, PassKind.SESSION, hours=web.session_hours)
    context.note(name, address_of(request), "login")
    answer = back(context, to)
    lasts, secure = int(web.session_hours * 3600), web.certificate is not None
    cookie = access.cookie_name(context.settings)
    answer.set_cookie(cookie, secret, max_age=lasts, httponly=True, samesite="strict", secure=secure, path="/")
    return answer


def not_too_often(context: AppContext, name: str, address: str) -> None:
    """Guesses: of an address, and of its network at one name. Nobody can lock somebody else out from elsewhere."""
    wait_s = context.logins.wait_s(address)
    if not wait_s and name:
        wait_s = context.names.wait_s(_at(name, address))
    if wait_s:
        if not context.alarms.wait_s(address):
            context.note(name[:64] or "setup", address, "login refused: too many tries", failed=True)
        raise HTTPException(429, f"Too many tries: wait {wait_s:.0f} seconds.", {"Retry-After": str(int(wait_s) + 1)})


def was_right(context: AppContext, name: str, address: str) -> None:
    """That try was no guess."""
    context.logins.undo(address)
    context.names.undo(_at(name, address))


def _at(name: str, address: str) -> str:
    return f"{name[:64]} {access.network_of(address)}"
