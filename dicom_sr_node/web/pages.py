"""The pages of the dashboard. Each is made on the server; scripts only keep `Now` fresh and draw the viewer."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, File, Form, HTTPException, Query, Request, UploadFile
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from dicom_sr_node.derive.heat_map import FULL_SHARE
from dicom_sr_node.errors import NodeError, NotFound
from dicom_sr_node.in_service import ModelAct
from dicom_sr_node.receive.callers import line_to_add
from dicom_sr_node.records import Kind, Priority
from dicom_sr_node.routing import in_order
from dicom_sr_node.store.search import PAGE, Fate, Wanted
from dicom_sr_node.web import acts, catalogue, neighbours, runs, trials
from dicom_sr_node.web.access import (
    LARGEST,
    AdministratorActs,
    Number,
    OnDesk,
    Operator,
    OperatorActs,
    Text,
    Viewer,
    address_of,
)
from dicom_sr_node.web.acts import Act
from dicom_sr_node.web.desk import Desk
from dicom_sr_node.web.forms import Modest
from dicom_sr_node.web.lightbox import What
from dicom_sr_node.web.pixels import Pixels
from dicom_sr_node.web.rendering import back, local, render

pages = APIRouter(include_in_schema=False, route_class=Modest)


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
    disk, serving = shutil.disk_usage(desk.settings.node.spool), desk.store.service.now()
    return {
        "condition": found,
        "today": desk.store.search.received_since(86_400),
        "peers": neighbours.ls(desk, found.seen),
        "others": others[:10],
        "free_gb": disk.free / 1e9,
        "free_share": disk.free / disk.total,
        "serving": serving,
        "model": _model(serving.active, desk.settings.model.name, found.slots),
        "at": local(time.time()),
    }


def _model(active: str, configured: str, slots: Sequence[Mapping[str, Any]]) -> str:
    """Which weights work, and on what, as the workers say; else which of them should."""
    working = {str(slot["note"]).removeprefix("model ") for slot in slots if str(slot["note"]).startswith("model ")}
    if not working:
        return active or configured
    return ", ".join(sorted(working)) + (f", in service: {active}" if active else "")


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
        return back(desk, place, acts.on_image(desk, person, address_of(request), image_id, act))
    except NotFound as error:
        return back(desk, place, str(error), well=False)


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
        return back(desk, "/models", acts.on_models(desk, person, address_of(request), act, name, percent / 100))
    except NodeError as error:
        return back(desk, "/models", str(error), well=False)


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
