"""The page `Now`: what is where, and whether all is well."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from dicom_sr_node.web.auth.access import (
    Context,
    Viewer,
)
from dicom_sr_node.web.base import destinations
from dicom_sr_node.web.base.body_limit import BodyLimitRoute
from dicom_sr_node.web.base.context import AppContext
from dicom_sr_node.web.base.rendering import local, render

pages = APIRouter(include_in_schema=False, route_class=BodyLimitRoute)


@pages.get("/")
def now(request: Request, context: Context, person: Viewer) -> HTMLResponse:
    """What is where, and whether all is well."""
    return render(request, "now.html", person, **_now(context))


@pages.get("/now/live")
def live(request: Request, context: Context, person: Viewer) -> HTMLResponse:
    """The part of `Now` that changes."""
    return render(request, "live.html", person, **_now(context))


def _now(context: AppContext) -> dict[str, Any]:
    health = context.health()
    known = {peer.ae_title for peer in context.settings.peers.values()}
    others = sorted((age, title) for title, age in health.seen.items() if title not in known)
    disk, serving = shutil.disk_usage(context.settings.node.spool), context.store.deployments.now()
    return {
        "health": health,
        "today": context.store.search.received_since(86_400),
        "peers": destinations.ls(context, health.seen),
        "others": others[:10],
        "free_gb": disk.free / 1e9,
        "free_share": disk.free / disk.total,
        "serving": serving,
        "model": _model(serving.active, context.settings.model.name, health.processes),
        "at": local(time.time()),
    }


def _model(active: str, configured: str, slots: Sequence[Mapping[str, Any]]) -> str:
    """Which weights work, and on what, as the workers say; else which of them should."""
    working = {str(slot["note"]).removeprefix("model ") for slot in slots if str(slot["note"]).startswith("model ")}
    if not working:
        return active or configured
    return ", ".join(sorted(working)) + (f", in service: {active}" if active else "")
