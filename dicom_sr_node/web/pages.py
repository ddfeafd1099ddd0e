"""The pages of the dashboard. Each is made on the server; scripts only keep `Now` fresh and draw the viewer."""

from __future__ import annotations

import hmac
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import numpy as np
from fastapi import APIRouter, File, Form, HTTPException, Query, Request, UploadFile
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from fastapi.templating import Jinja2Templates

from dicom_sr_node import __version__
from dicom_sr_node.derive.heat_map import FULL_SHARE
from dicom_sr_node.errors import NodeError, NotFound
from dicom_sr_node.in_service import ModelAct
from dicom_sr_node.receive.callers import line_to_add
from dicom_sr_node.records import Kind, Priority, State
from dicom_sr_node.routing import in_order
from dicom_sr_node.store.accounts import Kind as PassKind
from dicom_sr_node.store.accounts import Person, Role
from dicom_sr_node.store.search import PAGE, Fate, Wanted
from dicom_sr_node.web import access, acts, catalogue, neighbours, runs, staff, trials
from dicom_sr_node.web.access import (
    LARGEST,
    Administrator,
    AdministratorActs,
    Number,
    OnDesk,
    Operator,
    OperatorActs,
    Text,
    Viewer,
    ViewerActs,
    address_of,
)
from dicom_sr_node.web.acts import Act
from dicom_sr_node.web.desk import Desk
from dicom_sr_node.web.forms import Modest
from dicom_sr_node.web.lightbox import What
from dicom_sr_node.web.pixels import Pixels

pages = APIRouter(include_in_schema=False, route_class=Modest)
HERE = Path(__file__).parent
_templates = Jinja2Templates(HERE / "templates")
_ACT_NAMES = {
    Act.RETRY: "Retry",
    Act.CANCEL: "Cancel",
    Act.SEND_AGAIN: "Send again",
    Act.URGENT: "Mark as urgent",
    Act.HOLD: "Keep for ever",
    Act.RELEASE: "Keep no longer",
}


_KINDS = {Kind.IMAGE: "result", Kind.HEAT_MAP: "heat map", Kind.REPORT: "report", Kind.SHADOW: "shadow"}
_WAYS = {
    State.READY: "waiting",
    State.RUNNING: "on its way",
    State.SENT: "sent, waits for commitment",
    State.DONE: "delivered",
    State.DEAD: "dead",
}


def _local(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _ago(seconds: float | None) -> str:
    """A span of time in words."""
    if seconds is None:
        return "never"
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length or (seconds >= length and unit == "hour"):
            count = round(seconds / length)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return f"{max(0, round(seconds))} seconds ago"


def _shown(text: object) -> str:
    """Words of others on one line, without what turns the reading direction or cannot be seen."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))[:200]


_templates.env.filters |= {"local": _local, "ago": _ago, "shown": _shown, "fromjson": json.loads}
_templates.env.globals |= {"version": __version__, "Role": Role, "act_names": _ACT_NAMES}
_templates.env.globals |= {"names": _KINDS, "way_names": _WAYS}


def render(
    request: Request, template: str, person: Person | None = None, status: int = 200, **more: Any
) -> HTMLResponse:
    """A page. `told`: what was just done, or, with `well` False, why it was not."""
    desk = access.desk_of(request)
    asked = request.query_params
    well, told = asked.get("well") != "no", asked.get("told", "")
    is_ours = hmac.compare_digest(asked.get("seal", "").encode(), _seal(desk, told, well).encode())
    values = {
        "person": person,
        "node": desk.settings.node.ae_title,
        "told": told if is_ours else "",
        "well": well,
        **more,
    }
    return _templates.TemplateResponse(request, template, values, status_code=status)


def _back(desk: Desk, place: str, told: str = "", *, well: bool = True) -> RedirectResponse:
    """To a page that says what was done; with a seal, so that nobody else can make a page say anything."""
    if not told:
        return RedirectResponse(place, 303)
    told = told[:500]
    fields = {"told": told, "well": "yes" if well else "no", "seal": _seal(desk, told, well)}
    return RedirectResponse(f"{place}?{urlencode(fields)}", 303)


def _seal(desk: Desk, told: str, well: bool) -> str:
    return hmac.new(desk.seal, f"{well} {told}".encode("utf-8", "replace"), "sha256").hexdigest()


# Now


@pages.get("/")
def now(request: Request, desk: OnDesk, person: Viewer) -> HTMLResponse:
    """What is where, and whether all is well."""
    return render(request, "now.html", person, **_now(desk))


@pages.get("/now/live")
def live(request: Request, desk: OnDesk, person: Viewer) -> HTMLResponse:
    """The part of `Now` that changes."""
    return render(request, "live.html", person, **_now(desk))


def _now(desk: Desk) -> dict[str, Any]:
    found = desk.condition()
    known = {peer.ae_title for peer in desk.settings.peers.values()}
    others = sorted((age, title) for title, age in found.seen.items() if title not in known)
    disk = shutil.disk_usage(desk.settings.node.spool)
    return {
        "condition": found,
        "today": desk.store.search.received_since(86_400),
        "peers": neighbours.ls(desk, found.seen),
        "others": others[:10],
        "free_gb": disk.free / 1e9,
        "free_share": disk.free / disk.total,
        "serving": desk.store.service.now(),
        "model": _model(desk, found.slots),
        "at": _local(time.time()),
    }


def _model(desk: Desk, slots: Sequence[Mapping[str, Any]]) -> str:
    """Which weights work, and on what, as the workers say; else which of them should."""
    working = {str(slot["note"]).removeprefix("model ") for slot in slots if str(slot["note"]).startswith("model ")}
    active = desk.store.service.now().active
    configured = active or desk.settings.model.name
    return ", ".join(sorted(working)) + (f", in service: {active}" if active else "") if working else configured


# Images


@pages.get("/images")
def images(
    request: Request,
    desk: OnDesk,
    person: Viewer,
    text: Text = "",
    accession: Text = "",
    name: Text = "",
    patient_id: Text = "",
    study_date: Text = "",
    since: Text = "",
    until: Text = "",
    fate: Text = "",
    peer: Text = "",
    modality: Text = "",
    before: Annotated[int | None, Query(ge=1, le=LARGEST)] = None,
) -> HTMLResponse:
    """Search and filters."""
    wanted = Wanted(
        text=text.strip(),
        accession=accession.strip(),
        name=name.strip(),
        patient_id=patient_id.strip(),
        study_date=study_date.replace("-", "").strip(),
        since=_day(since, "since"),
        until=_day(until, "until", days=1),
        fate=_fate(fate),
        peer=peer,
        modality=modality.strip(),
        before=before,
    )
    rows = desk.store.search.images(wanted, PAGE + 1)
    fields = {key: value for key, value in request.query_params.items() if value and key != "before"}
    peers = sorted({*desk.settings.destinations, *desk.store.search.last_seen()})
    more = rows[PAGE - 1]["id"] if len(rows) > PAGE else None
    return render(
        request, "images.html", person, rows=rows[:PAGE], fields=fields, fates=list(Fate), peer_names=peers, more=more
    )


def _day(text: str, key: str, days: int = 0) -> float | None:
    if not text:
        return None
    try:
        return (datetime.fromisoformat(text) + timedelta(days=days)).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        raise HTTPException(400, f"{key} is a date like 2026-05-04, not {text[:40]!r}.") from None


def _fate(text: str) -> Fate | None:
    try:
        return Fate(text) if text else None
    except ValueError:
        raise HTTPException(400, f"No state is called {text[:40]!r}.") from None


@pages.get("/images/{image_id}")
def image(request: Request, desk: OnDesk, person: Viewer, image_id: Number) -> HTMLResponse:
    """One image: its journal, its results, the viewer."""
    return render(request, "image.html", person, **_image(desk, image_id))


@pages.get("/images/{image_id}/live")
def image_state(request: Request, desk: OnDesk, person: Viewer, image_id: Number) -> HTMLResponse:
    """The part that tells where it is."""
    return render(request, "image_state.html", person, **_image(desk, image_id))


@pages.get("/images/{image_id}/journal")
def image_journal(request: Request, desk: OnDesk, person: Viewer, image_id: Number) -> HTMLResponse:
    """The part that tells what became of it."""
    return render(request, "image_journal.html", person, **_image(desk, image_id))


def _image(desk: Desk, image_id: int) -> dict[str, Any]:
    row = desk.store.search.image(image_id)
    job = desk.store.jobs.get(row["job_id"])
    outputs = desk.store.outputs.of_job(job.id)
    ways = [(output, way) for output in outputs for way in desk.store.deliveries.of_output(output.id)]
    viewable = [output for output in outputs if output.kind in (Kind.IMAGE, Kind.SHADOW)]
    return {
        "row": row,
        "outputs": outputs,
        "ways": ways,
        "viewable": viewable if not row["purged_at"] else [],
        "quality": json.loads(job.quality) if job.quality else {},
        "journal": desk.store.instances.events(image_id),
        "acts": acts.possible(row, [way for _, way in ways]),
        "urgent": job.priority == Priority.STAT,
        "full_share": FULL_SHARE,
    }


@pages.post("/images/{image_id}/{act}")
def act_on_image(request: Request, desk: OnDesk, person: OperatorActs, image_id: Number, act: Act) -> RedirectResponse:
    """Retry, cancel, send again, ..."""
    place = f"/images/{image_id}"
    try:
        return _back(desk, place, acts.on_image(desk, person, address_of(request), image_id, act))
    except NotFound as error:
        return _back(desk, place, str(error), well=False)


@pages.get("/images/{image_id}/plane/{what}")
def plane(
    desk: OnDesk,
    person: Viewer,
    image_id: Number,
    what: What,
    output: Annotated[int | None, Query(ge=1, le=LARGEST)] = None,
    whole: bool = False,
) -> Response:
    """Pixels for the viewer: little-endian uint16; a header says what they mean, as JSON."""
    source = acts.path_of_source(desk, image_id)
    result = acts.path_of_output(desk, image_id, output) if output is not None else None
    if what != "source" and result is None:
        raise HTTPException(400, "Which result? Give output=NUMBER.")
    found = desk.lightbox.plane(what, source, result, whole=whole)
    said = {"shape": found.values.shape, "offset": found.offset, "factor": found.factor, "size": found.size}
    said["showing"] = asdict(found.showing)
    pixels = np.ascontiguousarray(found.values).view(np.uint8).ravel().data
    return Pixels(pixels, desk.showing, {"X-Plane": json.dumps(said)})


@pages.get("/images/{image_id}/verify/{output_id}")
def verified(request: Request, desk: OnDesk, person: Viewer, image_id: Number, output_id: Number) -> HTMLResponse:
    """The table of `srnode verify`, made now."""
    derived, source = acts.path_of_output(desk, image_id, output_id), acts.path_of_source(desk, image_id)
    return render(request, "verify.html", person, checks=desk.lightbox.verify(derived, source))


@pages.get("/images/{image_id}/download")
def download(
    request: Request,
    desk: OnDesk,
    person: Operator,
    image_id: Number,
    output: Annotated[int | None, Query(ge=1, le=LARGEST)] = None,
) -> FileResponse:
    """The DICOM file of an image or of one of its results."""
    path = acts.taken_away(desk, person, address_of(request), image_id, output)
    name = f"image-{image_id}{'' if output is None else f'-result-{output}'}.dcm"
    return FileResponse(path, media_type="application/dicom", filename=name)


# Rules and peers


@pages.get("/rules")
def rules(request: Request, desk: OnDesk, person: Viewer) -> HTMLResponse:
    """The rules in force, in the order in which they are asked."""
    return render(request, "rules.html", person, rules=in_order(desk.settings.rules), trial=None, form={})


@pages.post("/rules/try")
def try_rules(
    request: Request,
    desk: OnDesk,
    person: OperatorActs,
    file: Annotated[UploadFile, File()],
    calling_ae: Annotated[str, Form()] = "",
    called_ae: Annotated[str, Form()] = "",
) -> HTMLResponse:
    """What would become of this file."""
    told, trial = "", None
    try:
        trial = trials.of_upload(desk, file.file, calling_ae, called_ae)
    except NodeError as error:
        told = str(error)
    form = {"calling_ae": calling_ae, "called_ae": called_ae, "file": file.filename or ""}
    found = in_order(desk.settings.rules)
    return render(request, "rules.html", person, rules=found, trial=trial, form=form, told=told, well=False)


@pages.get("/peers")
def peers(request: Request, desk: OnDesk, person: Viewer) -> HTMLResponse:
    """Everybody we know, and who was turned away."""
    return render(request, "peers.html", person, **_peers(desk), tried="", checks=[])


@pages.post("/peers/{name}/try")
def try_peer(request: Request, desk: OnDesk, person: OperatorActs, name: str) -> HTMLResponse:
    """TCP, TLS, association, contexts, C-ECHO, storage commitment; of a DICOMweb archive, whether it lets us in."""
    checks = neighbours.tried(desk, person, address_of(request), name)
    return render(request, "peers.html", person, **_peers(desk), tried=name, checks=checks)


def _peers(desk: Desk) -> dict[str, Any]:
    return {
        "peers": neighbours.ls(desk, desk.store.search.last_seen()),
        "refused": [
            {
                **caller,
                "lines": line_to_add(caller["calling_ae"], caller["address"], caller["why"], desk.settings.peers),
            }
            for caller in desk.store.refused.ls()[:20]
        ],
    }


# Models and training runs


@pages.get("/models")
def models(request: Request, desk: OnDesk, person: Viewer) -> HTMLResponse:
    """Cards, figures, weaknesses; what is active."""
    return render(request, "models.html", person, **catalogue.models(desk), figures=catalogue.figures)


@pages.post("/models/{act}")
def act_on_models(
    request: Request,
    desk: OnDesk,
    person: AdministratorActs,
    act: ModelAct,
    name: Annotated[str, Form()] = "",
    percent: Annotated[float, Form(gt=0, le=100)] = 10,
) -> RedirectResponse:
    """Activate, go back, shadow, canary."""
    try:
        return _back(desk, "/models", acts.on_models(desk, person, address_of(request), act, name, percent / 100))
    except NodeError as error:
        return _back(desk, "/models", str(error), well=False)


@pages.get("/training")
def training(request: Request, desk: OnDesk, person: Viewer) -> HTMLResponse:
    """The runs of the configured folder, the newest first."""
    return render(request, "training.html", person, **_training(desk))


@pages.get("/training/live")
def training_live(request: Request, desk: OnDesk, person: Viewer) -> HTMLResponse:
    """They grow."""
    return render(request, "runs.html", person, **_training(desk))


def _training(desk: Desk) -> dict[str, Any]:
    folder = desk.settings.web.runs_dir
    return {"folder": folder, "runs": runs.ls(folder)}


@pages.get("/training/{run}/{file}")
def training_file(desk: OnDesk, person: Viewer, run: str, file: str) -> FileResponse:
    """A picture of a run."""
    return FileResponse(runs.picture(desk.settings.web.runs_dir, run, file))


# People


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
    secret = desk.store.accounts.let_in(person.name, staff.role_of(role), PassKind.TOKEN, note=note)
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
    _not_too_often(desk, person.name, address)
    if access.check(desk.store.accounts, person.name, old) is None:
        return _back(desk, "/account", "That is not your password.", well=False)
    _was_right(desk, person.name, address)
    try:
        desk.store.accounts.change(person.name, password=access.hashed(new, person.name))
    except NodeError as error:
        return _back(desk, "/account", str(error), well=False)
    desk.note(person.name, address, "changed the own password")
    return _back(desk, "/login", "Log in with the new password.")


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
            return _back(desk, "/people", "There was nothing to change.", well=False)
    except NodeError as error:
        return _back(desk, "/people", str(error), well=False)
    desk.note(person.name, address_of(request), what)
    return _back(desk, "/people", f"Done: {what}.")


# Coming and going


@pages.get("/login")
def login_page(request: Request, desk: OnDesk, to: Text = "") -> Response:
    """The form. to: the page that was wanted."""
    if access.somebody(request):
        return _back(desk, access.inside(to))
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
    _not_too_often(desk, name, address)
    role = access.check(desk.store.accounts, name, password)
    if role is None:
        desk.note(name[:64], address, "login failed", failed=True)
        told, to = "Name or password is wrong.", access.inside(to)
        return render(request, "login.html", status=401, told=told, well=False, name=name[:64], first=False, to=to)
    _was_right(desk, name, address)
    return _enter(request, desk, name, role, access.inside(to))


@pages.post("/logout")
def logout(request: Request, desk: OnDesk, person: ViewerActs) -> RedirectResponse:
    """The session ends, and the browser forgets what it has kept."""
    desk.store.accounts.end(access.secret_of(request))
    desk.note(person.name, address_of(request), "logout")
    answer = _back(desk, "/login", "You are logged out.")
    answer.delete_cookie(access.cookie_name(desk.settings))
    answer.headers["Clear-Site-Data"] = '"cache"'
    return answer


@pages.get("/setup")
def setup_page(request: Request, desk: OnDesk, key: Text = "") -> HTMLResponse:
    """The first account, for whoever has the link that was printed."""
    if desk.store.accounts.who(key, PassKind.SETUP) is None:
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
    _not_too_often(desk, "", address)
    if desk.store.accounts.who(key, PassKind.SETUP) is None:
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
    secret = desk.store.accounts.let_in(name, role, PassKind.SESSION, hours=web.session_hours)
    desk.note(name, address_of(request), "login")
    answer = _back(desk, to)
    lasts, secure = int(web.session_hours * 3600), web.certificate is not None
    cookie = access.cookie_name(desk.settings)
    answer.set_cookie(cookie, secret, max_age=lasts, httponly=True, samesite="strict", secure=secure, path="/")
    return answer


def _not_too_often(desk: Desk, name: str, address: str) -> None:
    """Guesses: of an address, and of its network at one name. Nobody can lock somebody else out from elsewhere."""
    wait_s = desk.logins.wait_s(address)
    if not wait_s and name:
        wait_s = desk.names.wait_s(_at(name, address))
    if wait_s:
        if not desk.alarms.wait_s(address):
            desk.note(name[:64] or "setup", address, "login refused: too many tries", failed=True)
        raise HTTPException(429, f"Too many tries: wait {wait_s:.0f} seconds.", {"Retry-After": str(int(wait_s) + 1)})


def _was_right(desk: Desk, name: str, address: str) -> None:
    """That try was no guess."""
    desk.logins.undo(address)
    desk.names.undo(_at(name, address))


def _at(name: str, address: str) -> str:
    return f"{name[:64]} {access.network_of(address)}"
