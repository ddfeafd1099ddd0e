"""Coming and going: login, logout, the link that makes the first account, and how often somebody may guess."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from dicom_sr_node.errors import NodeError, NotFound
from dicom_sr_node.store.accounts import Kind, Role
from dicom_sr_node.web import access, staff
from dicom_sr_node.web.access import OnDesk, Text, ViewerActs, address_of
from dicom_sr_node.web.desk import Desk
from dicom_sr_node.web.forms import Modest
from dicom_sr_node.web.rendering import back, render

pages = APIRouter(include_in_schema=False, route_class=Modest)


@pages.get("/login")
def login_page(request: Request, desk: OnDesk, to: Text = "") -> Response:
    """The form. to: the page that was wanted."""
    if access.somebody(request):
        return back(desk, access.inside(to))
    return render(request, "login.html", first=not desk.store.accounts.any(), to=access.inside(to))


@pages.post("/login")
def login(
    request: Request,
    desk: OnDesk,
    name: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    to: Annotated[str, Form()] = "",
) -> Response:
    """A session for whoever knows the password."""
    address = address_of(request)
    not_too_often(desk, name, address)
    role = access.check(desk.store.accounts, name, password)
    if role is None:
        desk.note(name[:64], address, "login failed", failed=True)
        told, to = "Name or password is wrong.", access.inside(to)
        return render(request, "login.html", status=401, told=told, well=False, name=name[:64], first=False, to=to)
    was_right(desk, name, address)
    return _enter(request, desk, name, role, access.inside(to))


@pages.post("/logout")
def logout(request: Request, desk: OnDesk, person: ViewerActs) -> RedirectResponse:
    """The session ends, and the browser forgets what it has kept."""
    desk.store.accounts.end(access.secret_of(request))
    desk.note(person.name, address_of(request), "logout")
    answer = back(desk, "/login", "You are logged out.")
    secure = desk.settings.web.certificate is not None
    answer.delete_cookie(access.cookie_name(desk.settings), secure=secure, httponly=True, samesite="strict")
    answer.headers["Clear-Site-Data"] = '"cache"'
    return answer


@pages.get("/setup")
def setup_page(request: Request, desk: OnDesk, key: Text = "") -> HTMLResponse:
    """The first account, for whoever has the link that was printed."""
    if desk.store.accounts.who(key, Kind.SETUP) is None:
        raise _worthless()
    return render(request, "setup.html", key=key)


@pages.post("/setup")
def setup(
    request: Request,
    desk: OnDesk,
    key: Annotated[str, Form()] = "",
    name: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
) -> Response:
    """Make an administrator; the link is used up."""
    address = address_of(request)
    not_too_often(desk, "", address)
    if desk.store.accounts.who(key, Kind.SETUP) is None:
        raise _worthless()
    try:
        staff.add(desk, name, Role.ADMINISTRATOR.name, password, by_link=key)
    except NotFound:
        raise _worthless() from None
    except NodeError as error:
        return render(request, "setup.html", status=400, key=key, told=str(error), well=False, name=name[:64])
    desk.note(name, address, "made the account of an administrator by the setup link")
    return _enter(request, desk, name.strip(), Role.ADMINISTRATOR, "/")


def _worthless() -> HTTPException:
    return HTTPException(403, "This link was used or is too old. `srnode users link` prints another one.")


def _enter(request: Request, desk: Desk, name: str, role: Role, to: str) -> RedirectResponse:
    """A new session; the one that this browser had is over."""
    web = desk.settings.web
    desk.store.accounts.end(access.secret_of(request))
    secret = desk.store.accounts.let_in(name, role, Kind.SESSION, hours=web.session_hours)
    desk.note(name, address_of(request), "login")
    answer = back(desk, to)
    lasts, secure = int(web.session_hours * 3600), web.certificate is not None
    cookie = access.cookie_name(desk.settings)
    answer.set_cookie(cookie, secret, max_age=lasts, httponly=True, samesite="strict", secure=secure, path="/")
    return answer


def not_too_often(desk: Desk, name: str, address: str) -> None:
    """Guesses: of an address, and of its network at one name. Nobody can lock somebody else out from elsewhere."""
    wait_s = desk.logins.wait_s(address)
    if not wait_s and name:
        wait_s = desk.names.wait_s(_at(name, address))
    if wait_s:
        if not desk.alarms.wait_s(address):
            desk.note(name[:64] or "setup", address, "login refused: too many tries", failed=True)
        raise HTTPException(429, f"Too many tries: wait {wait_s:.0f} seconds.", {"Retry-After": str(int(wait_s) + 1)})


def was_right(desk: Desk, name: str, address: str) -> None:
    """That try was no guess."""
    desk.logins.undo(address)
    desk.names.undo(_at(name, address))


def _at(name: str, address: str) -> str:
    return f"{name[:64]} {access.network_of(address)}"
