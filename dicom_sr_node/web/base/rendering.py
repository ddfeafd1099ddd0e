"""How pages are made: templates, words for times and states, and what one page tells the next."""

from __future__ import annotations

import hmac
import json
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.templating import Jinja2Templates

from dicom_sr_node import __version__
from dicom_sr_node.actions.images import ImageAction
from dicom_sr_node.domain.records import JobState, OutputKind
from dicom_sr_node.store.accounts import AccountRole, Person
from dicom_sr_node.web.base.context import AppContext, context_of

HERE = Path(__file__).parents[1]
_templates = Jinja2Templates(HERE / "templates")
_ACT_NAMES = {
    ImageAction.RETRY: "Retry",
    ImageAction.CANCEL: "Cancel",
    ImageAction.SEND_AGAIN: "Send again",
    ImageAction.URGENT: "Mark as urgent",
    ImageAction.HOLD: "Keep for ever",
    ImageAction.RELEASE: "Keep no longer",
    ImageAction.REJECT: "Send a rejection note",
}
_KINDS = {
    OutputKind.IMAGE: "result",
    OutputKind.HEAT_MAP: "heat map",
    OutputKind.REPORT: "report",
    OutputKind.REJECTION: "rejection note",
    OutputKind.SHADOW: "shadow",
}
_WAYS = {
    JobState.READY: "waiting",
    JobState.RUNNING: "on its way",
    JobState.SENT: "sent, waits for commitment",
    JobState.DONE: "delivered",
    JobState.DEAD: "dead",
}


def local(seconds: float) -> str:
    """A time of the database for people."""
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


_templates.env.filters |= {"local": local, "ago": _ago, "shown": _shown, "fromjson": json.loads}
_templates.env.globals |= {"version": __version__, "Role": AccountRole, "act_names": _ACT_NAMES}
_templates.env.globals |= {"names": _KINDS, "way_names": _WAYS}


def render(
    request: Request, template: str, person: Person | None = None, status: int = 200, **more: Any
) -> HTMLResponse:
    """A page. `told`: what was just done, or, with `well` False, why it was not."""
    context = context_of(request)
    asked = request.query_params
    well, message = asked.get("well") != "no", asked.get("told", "")
    is_ours = hmac.compare_digest(asked.get("seal", "").encode(), _seal(context, message, well).encode())
    values = {
        "person": person,
        "node": context.settings.node.ae_title,
        "told": message if is_ours else "",
        "well": well,
        **more,
    }
    return _templates.TemplateResponse(request, template, values, status_code=status)


def back(context: AppContext, url: str, message: str = "", *, well: bool = True) -> RedirectResponse:
    """To a page that says what was done; with a seal, so that nobody else can make a page say anything."""
    if not message:
        return RedirectResponse(url, 303)
    message = message[:500]
    fields = {"told": message, "well": "yes" if well else "no", "seal": _seal(context, message, well)}
    return RedirectResponse(f"{url}?{urlencode(fields)}", 303)


def _seal(context: AppContext, message: str, well: bool) -> str:
    return hmac.new(context.seal, f"{well} {message}".encode("utf-8", "replace"), "sha256").hexdigest()
