"""Pages about accounts and tokens, and everybody's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from dicom_sr_node.domain.errors import NodeError
from dicom_sr_node.store.accounts import AccountRole, PassKind, Person
from dicom_sr_node.web.auth import access, accounts, login
from dicom_sr_node.web.auth.access import Administrator, AdministratorActs, Context, Viewer, ViewerActs, address_of
from dicom_sr_node.web.base.body_limit import BodyLimitRoute
from dicom_sr_node.web.base.context import AppContext
from dicom_sr_node.web.base.rendering import back, render

pages = APIRouter(include_in_schema=False, route_class=BodyLimitRoute)


@pages.get("/people")
def people(request: Request, context: Context, person: Administrator) -> HTMLResponse:
    """Accounts and tokens."""
    return render(request, "people.html", person, **_people(context))


def _people(context: AppContext) -> dict[str, Any]:
    return {
        "accounts": context.store.accounts.ls(),
        "tokens": context.store.accounts.tokens(),
        "roles": list(AccountRole),
    }


@pages.post("/people/add")
def add_person(
    request: Request,
    context: Context,
    person: AdministratorActs,
    name: Annotated[str, Form()],
    role: Annotated[str, Form()],
    password: Annotated[str, Form()],
) -> RedirectResponse:
    """A new account."""
    return _on_people(
        request, context, person, f"made account {name}", lambda: accounts.add(context, name, role, password)
    )


@pages.post("/people/change")
def change_person(
    request: Request,
    context: Context,
    person: AdministratorActs,
    name: Annotated[str, Form()],
    role: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
) -> RedirectResponse:
    """Another role or password."""
    changed = " and ".join(word for word, given in ((f"role to {role.lower()}", role), ("password", password)) if given)
    what = f"changed account {name}: {changed}; its sessions have ended"
    return _on_people(request, context, person, what, lambda: accounts.change(context, name, role, password))


@pages.post("/people/remove")
def remove_person(
    request: Request, context: Context, person: AdministratorActs, name: Annotated[str, Form()]
) -> RedirectResponse:
    """An account with all its sessions and tokens."""
    return _on_people(request, context, person, f"removed account {name}", lambda: context.store.accounts.remove(name))


@pages.post("/people/token")
def make_token(
    request: Request,
    context: Context,
    person: AdministratorActs,
    note: Annotated[str, Form()],
    role: Annotated[str, Form()],
) -> HTMLResponse:
    """A token for a program, shown once."""
    secret = context.store.accounts.let_in(person.name, accounts.role_of(role), PassKind.TOKEN, note=note)
    context.note(person.name, address_of(request), f"made a token for {note}")
    return render(request, "people.html", person, **_people(context), secret=secret)


@pages.post("/people/revoke")
def revoke_token(
    request: Request, context: Context, person: AdministratorActs, token: Annotated[str, Form()]
) -> RedirectResponse:
    """A token lets nobody in any more."""
    return _on_people(
        request, context, person, f"revoked token {token[:12]}", lambda: context.store.accounts.revoke(token)
    )


@pages.post("/password")
def own_password(
    request: Request,
    context: Context,
    person: ViewerActs,
    old: Annotated[str, Form()],
    new: Annotated[str, Form()],
) -> RedirectResponse:
    """Everybody's own; then one logs in again."""
    address = address_of(request)
    login.not_too_often(context, person.name, address)
    if access.check(context.store.accounts, person.name, old) is None:
        return back(context, "/account", "That is not your password.", well=False)
    login.was_right(context, person.name, address)
    try:
        context.store.accounts.change(person.name, password=access.hashed(new, person.name))
    except NodeError as error:
        return back(context, "/account", str(error), well=False)
    context.note(person.name, address, "changed the own password")
    return back(context, "/login", "Log in with the new password.")


@pages.get("/account")
def account(request: Request, context: Context, person: Viewer) -> HTMLResponse:
    """One's own."""
    return render(request, "account.html", person)


def _on_people(
    request: Request, context: AppContext, person: Person, what: str, change: Callable[[], object]
) -> RedirectResponse:
    """change: what it returns is no matter, unless it is False: there was nothing to change."""
    try:
        if change() is False:
            return back(context, "/people", "There was nothing to change.", well=False)
    except NodeError as error:
        return back(context, "/people", str(error), well=False)
    context.note(person.name, address_of(request), what)
    return back(context, "/people", f"Done: {what}.")
