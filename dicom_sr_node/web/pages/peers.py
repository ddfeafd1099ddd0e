"""Peers and archives: how each fares, trying one, who was turned away."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from dicom_sr_node.receive.callers import line_to_add
from dicom_sr_node.web.auth.access import (
    Context,
    OperatorActs,
    Viewer,
)
from dicom_sr_node.web.base import destinations
from dicom_sr_node.web.base.body_limit import BodyLimitRoute
from dicom_sr_node.web.base.context import AppContext, actor_of
from dicom_sr_node.web.base.rendering import render

pages = APIRouter(include_in_schema=False, route_class=BodyLimitRoute)


@pages.get("/peers")
def peers(request: Request, context: Context, person: Viewer) -> HTMLResponse:
    """Everybody we know, and who was turned away."""
    return render(request, "peers.html", person, **_peers(context), tried="", checks=[])


@pages.post("/peers/{name}/try")
def try_peer(request: Request, context: Context, person: OperatorActs, name: str) -> HTMLResponse:
    """TCP, TLS, association, contexts, C-ECHO, storage commitment; of a DICOMweb archive, whether it lets us in."""
    checks = destinations.check(context, actor_of(request, person), name)
    return render(request, "peers.html", person, **_peers(context), tried=name, checks=checks)


def _peers(context: AppContext) -> dict[str, Any]:
    return {
        "peers": destinations.ls(context, context.store.search.last_seen()),
        "refused": [
            {
                **caller,
                "lines": line_to_add(caller["calling_ae"], caller["address"], caller["why"], context.settings.peers),
            }
            for caller in context.store.refused.ls()[:20]
        ],
    }
