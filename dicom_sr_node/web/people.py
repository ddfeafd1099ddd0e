"""Pages about accounts and tokens, and everybody's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from dicom_sr_node.errors import NodeError
from dicom_sr_node.store.accounts import Kind, Person, Role
from dicom_sr_node.web import access, door, staff
from dicom_sr_node.web.access import Administrator, AdministratorActs, OnDesk, Viewer, ViewerActs, address_of
from dicom_sr_node.web.desk import Desk
from dicom_sr_node.web.forms import Modest
from dicom_sr_node.web.rendering import back, render

pages = APIRouter(include_in_schema=False, route_class=Modest)


@pages.get("/people")
def people(request: Request, desk: OnDesk, person: Administrator) -> HTMLResponse:
    """Accounts and tokens."""
    return render(request, "people.html", person, **_people(desk))


def _people(desk: Desk) -> dict[str, Any]:
    return {"accounts": desk.store.accounts.ls(), "tokens": desk.store.accounts.tokens(), "roles": list(Role)}


@pages.post("/people/add")
def add_person(
    request: Request,
    desk: OnDesk,
    person: AdministratorActs,
    name: Annotated[str, Form()],
    role: Annotated[str, Form()],
    password: Annotated[str, Form()],
) -> RedirectResponse:
    """A new account."""
    return _on_people(request, desk, person, f"made account {name}", lambda: staff.add(desk, name, role, password))


@pages.post("/people/change")
def change_person(
    request: Request,
    desk: OnDesk,
    person: AdministratorActs,
    name: Annotated[str, Form()],
    role: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
) -> RedirectResponse:
    """Another role or password."""
    changed = " and ".join(word for word, given in ((f"role to {role.lower()}", role), ("password", password)) if given)
    what = f"changed account {name}: {changed}; its sessions have ended"
    return _on_people(request, desk, person, what, lambda: staff.change(desk, name, role, password))


@pages.post("/people/remove")
def remove_person(
    request: Request, desk: OnDesk, person: AdministratorActs, name: Annotated[str, Form()]
) -> RedirectResponse:
    """An account with all its sessions and tokens."""
    return _on_people(request, desk, person, f"removed account {name}", lambda: desk.store.accounts.remove(name))


@pages.post("/people/token")
def make_token(
    request: Request,
    desk: OnDesk,
    person: AdministratorActs,
    note: Annotated[str, Form()],
    role: Annotated[str, Form()],
) -> HTMLResponse:
    """A token for a program, shown once."""
    secret = desk.store.accounts.let_in(person.name, staff.role_of(role), Kind.TOKEN, note=note)
    desk.note(person.name, address_of(request), f"made a token for {note}")
    return render(request, "people.html", person, **_people(desk), secret=secret)


@pages.post("/people/revoke")
def revoke_token(
    request: Request, desk: OnDesk, person: AdministratorActs, token: Annotated[str, Form()]
) -> RedirectResponse:
    """A token lets nobody in any more."""
    return _on_people(request, desk, person, f"revoked token {token[:12]}", lambda: desk.store.accounts.revoke(token))


@pages.post("/password")
def own_password(
    request: Request,
    desk: OnDesk,
    person: ViewerActs,
    old: Annotated[str, Form()],
    new: Annotated[str, Form()],
) -> RedirectResponse:
    """Everybody's own; then one logs in again."""
    address = address_of(request)
    door.not_too_often(desk, person.name, address)
    if access.check(desk.store.accounts, person.name, old) is None:
        return back(desk, "/account", "That is not your password.", well=False)
    door.was_right(desk, person.name, address)
    try:
        desk.store.accounts.change(person.name, password=access.hashed(new, person.name))
    except NodeError as error:
        return back(desk, "/account", str(error), well=False)
    desk.note(person.name, address, "changed the own password")
    return back(desk, "/login", "Log in with the new password.")


@pages.get("/account")
def account(request: Request, desk: OnDesk, person: Viewer) -> HTMLResponse:
    """One's own."""
    return render(request, "account.html", person)


def _on_people(
    request: Request, desk: Desk, person: Person, what: str, change: Callable[[], object]
) -> RedirectResponse:
    """change: what it returns is no matter, unless it is False: there was nothing to change."""
    try:
        if change() is False:
            return back(desk, "/people", "There was nothing to change.", well=False)
    except NodeError as error:
        return back(desk, "/people", str(error), well=False)
    desk.note(person.name, address_of(request), what)
    return back(desk, "/people", f"Done: {what}.")
