"""Images: search, one image with its viewer, what can be done to it."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from dicom_sr_node.actions.images import ImageAction, possible
from dicom_sr_node.derive.heat_map import FULL_SHARE
from dicom_sr_node.domain.errors import NotFound
from dicom_sr_node.domain.image_status import ImageStatus
from dicom_sr_node.domain.records import OutputKind, Priority
from dicom_sr_node.store.search import PAGE, ImageQuery
from dicom_sr_node.web.auth.access import (
    LARGEST,
    Context,
    Number,
    Operator,
    OperatorActs,
    Text,
    Viewer,
)
from dicom_sr_node.web.base import files, wording
from dicom_sr_node.web.base.body_limit import BodyLimitRoute
from dicom_sr_node.web.base.context import AppContext, actor_of
from dicom_sr_node.web.base.rendering import back, render
from dicom_sr_node.web.viewer.lightbox import What
from dicom_sr_node.web.viewer.streaming import PixelStream

pages = APIRouter(include_in_schema=False, route_class=BodyLimitRoute)


@pages.get("/images")
def images(
    request: Request,
    context: Context,
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
    query = ImageQuery(
        text=text.strip(),
        accession=accession.strip(),
        name=name.strip(),
        patient_id=patient_id.strip(),
        study_date=study_date.replace("-", "").strip(),
        since=_day(since, "since"),
        until=_day(until, "until", days=1),
        status=_status(fate),
        peer=peer,
        modality=modality.strip(),
        before=before,
    )
    rows = context.store.search.images(query, PAGE + 1)
    fields = {key: value for key, value in request.query_params.items() if value and key != "before"}
    peers = sorted({*context.settings.destinations, *context.store.search.last_seen()})
    more = rows[PAGE - 1]["id"] if len(rows) > PAGE else None
    return render(
        request,
        "images.html",
        person,
        rows=rows[:PAGE],
        fields=fields,
        statuses=list(ImageStatus),
        peer_names=peers,
        more=more,
    )


def _day(text: str, key: str, days: int = 0) -> float | None:
    if not text:
        return None
    try:
        return (datetime.fromisoformat(text) + timedelta(days=days)).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        raise HTTPException(400, f"{key} is a date like 2026-05-04, not {text[:40]!r}.") from None


def _status(text: str) -> ImageStatus | None:
    try:
        return ImageStatus(text) if text else None
    except ValueError:
        raise HTTPException(400, f"No state is called {text[:40]!r}.") from None


@pages.get("/images/{image_id}")
def image(request: Request, context: Context, person: Viewer, image_id: Number) -> HTMLResponse:
    """One image: its journal, its results, the viewer."""
    return render(request, "image.html", person, **_image(context, image_id))


@pages.get("/images/{image_id}/live")
def image_state(request: Request, context: Context, person: Viewer, image_id: Number) -> HTMLResponse:
    """The part that tells where it is."""
    return render(request, "image_state.html", person, **_image(context, image_id))


@pages.get("/images/{image_id}/journal")
def image_journal(request: Request, context: Context, person: Viewer, image_id: Number) -> HTMLResponse:
    """The part that tells what became of it."""
    return render(request, "image_journal.html", person, **_image(context, image_id))


def _image(context: AppContext, image_id: int) -> dict[str, Any]:
    row = context.store.search.image(image_id)
    job = context.store.jobs.get(row["job_id"])
    outputs = context.store.outputs.of_job(job.id)
    ways = [(output, way) for output in outputs for way in context.store.deliveries.of_output(output.id)]
    viewable = [output for output in outputs if output.kind in (OutputKind.IMAGE, OutputKind.SHADOW)]
    return {
        "row": row,
        "outputs": outputs,
        "ways": ways,
        "viewable": viewable if not row["purged_at"] else [],
        "quality": json.loads(job.quality) if job.quality else {},
        "journal": context.store.instances.events(image_id),
        "acts": possible(row, [way for _, way in ways], superseded=any(output.superseded_by > 0 for output in outputs)),
        "urgent": job.priority == Priority.STAT,
        "full_share": FULL_SHARE,
    }


@pages.post("/images/{image_id}/{act}")
def act_on_image(
    request: Request, context: Context, person: OperatorActs, image_id: Number, act: ImageAction
) -> RedirectResponse:
    """Retry, cancel, send again, ..."""
    url = f"/images/{image_id}"
    try:
        job_id = int(context.store.search.image(image_id)["job_id"])
        outcome = context.image_actions.act(act, job_id, actor_of(request, person))
        return back(context, url, wording.sentence(outcome))
    except NotFound as error:
        return back(context, url, str(error), well=False)


@pages.get("/images/{image_id}/plane/{what}")
def plane(
    context: Context,
    person: Viewer,
    image_id: Number,
    what: What,
    output: Annotated[int | None, Query(ge=1, le=LARGEST)] = None,
    whole: bool = False,
) -> Response:
    """Pixels for the viewer: little-endian uint16; a header says what they mean, as JSON."""
    source = files.source_path(context, image_id)
    result = files.output_path(context, image_id, output) if output is not None else None
    if what != "source" and result is None:
        raise HTTPException(400, "Which result? Give output=NUMBER.")
    shown = context.lightbox.plane(what, source, result, whole=whole)
    description = {"shape": shown.values.shape, "offset": shown.offset, "factor": shown.factor, "size": shown.size}
    description["showing"] = asdict(shown.display_windows)
    pixels = np.ascontiguousarray(shown.values).view(np.uint8).ravel().data
    return PixelStream(pixels, context.showing, {"X-Plane": json.dumps(description)})


@pages.get("/images/{image_id}/verify/{output_id}")
def verified(request: Request, context: Context, person: Viewer, image_id: Number, output_id: Number) -> HTMLResponse:
    """The table of `srnode verify`, made now."""
    derived, source = files.output_path(context, image_id, output_id), files.source_path(context, image_id)
    return render(request, "verify.html", person, checks=context.lightbox.verify(derived, source))


@pages.get("/images/{image_id}/download")
def download(
    request: Request,
    context: Context,
    person: Operator,
    image_id: Number,
    output: Annotated[int | None, Query(ge=1, le=LARGEST)] = None,
) -> FileResponse:
    """The DICOM file of an image or of one of its results."""
    path = files.download(context, actor_of(request, person), image_id, output)
    name = f"image-{image_id}{'' if output is None else f'-result-{output}'}.dcm"
    return FileResponse(path, media_type="application/dicom", filename=name)
