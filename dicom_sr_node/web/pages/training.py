"""Training runs of the configured folder."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse

from dicom_sr_node.web.auth.access import (
    Context,
    Viewer,
)
from dicom_sr_node.web.base import training_runs
from dicom_sr_node.web.base.body_limit import BodyLimitRoute
from dicom_sr_node.web.base.context import AppContext
from dicom_sr_node.web.base.rendering import render

pages = APIRouter(include_in_schema=False, route_class=BodyLimitRoute)


@pages.get("/training")
def training(request: Request, context: Context, person: Viewer) -> HTMLResponse:
    """The runs of the configured folder, the newest first."""
    return render(request, "training.html", person, **_training(context))


@pages.get("/training/live")
def training_live(request: Request, context: Context, person: Viewer) -> HTMLResponse:
    """They grow."""
    return render(request, "runs.html", person, **_training(context))


def _training(context: AppContext) -> dict[str, Any]:
    folder = context.settings.web.runs_dir
    return {"folder": folder, "runs": training_runs.ls(folder)}


@pages.get("/training/{run}/{file}")
def training_file(context: Context, person: Viewer, run: str, file: str) -> FileResponse:
    """A picture of a run."""
    return FileResponse(training_runs.picture(context.settings.web.runs_dir, run, file))
