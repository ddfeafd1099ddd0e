"""The weights: cards, figures, what is deployed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from dicom_sr_node.actions.models import DeploymentAction
from dicom_sr_node.domain.errors import NodeError
from dicom_sr_node.web.auth.access import (
    AdministratorActs,
    Context,
    Viewer,
)
from dicom_sr_node.web.base import model_metrics
from dicom_sr_node.web.base.body_limit import BodyLimitRoute
from dicom_sr_node.web.base.context import actor_of
from dicom_sr_node.web.base.rendering import back, render

pages = APIRouter(include_in_schema=False, route_class=BodyLimitRoute)


@pages.get("/models")
def models(request: Request, context: Context, person: Viewer) -> HTMLResponse:
    """Cards, figures, weaknesses; what is active."""
    return render(request, "models.html", person, **model_metrics.models(context), figures=model_metrics.figures)


@pages.post("/models/{act}")
def act_on_models(
    request: Request,
    context: Context,
    person: AdministratorActs,
    act: DeploymentAction,
    name: Annotated[str, Form()] = "",
    percent: Annotated[float, Form(gt=0, le=100)] = 10,
) -> RedirectResponse:
    """Activate, go back, shadow, canary."""
    try:
        outcome = context.model_actions.act(act, actor_of(request, person), name, percent / 100)
        return back(context, "/models", outcome.sentence)
    except NodeError as error:
        return back(context, "/models", str(error), well=False)
