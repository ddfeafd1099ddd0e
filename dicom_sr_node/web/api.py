"""The REST interface, `/api/v1`: the same powers as the dashboard, by token."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Path, Query, Request, UploadFile
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from dicom_sr_node import __version__
from dicom_sr_node.errors import NotFound
from dicom_sr_node.in_service import ModelAct
from dicom_sr_node.records import Kind
from dicom_sr_node.routing import in_order
from dicom_sr_node.store.accounts import Kind as PassKind
from dicom_sr_node.store.search import Fate, Wanted
from dicom_sr_node.web import acts, catalogue, neighbours, staff, trials
from dicom_sr_node.web.access import (
    LARGEST,
    AdministratorToken,
    Number,
    OnDesk,
    OperatorToken,
    Text,
    ViewerToken,
    address_of,
)
from dicom_sr_node.web.acts import Act
from dicom_sr_node.web.forms import Modest
from dicom_sr_node.web.problems import documented

_DICOM: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("application/dicom", "application/octet-stream")
        }
    }
}

api = APIRouter(
    prefix="/api/v1",
    responses=documented(400, 401, 403, 404, 405, 409, 411, 413, 421, 422, 429, 500, 503),
    route_class=Modest,
)


class Trouble(BaseModel):
    kind: str
    subject: str
    text: str
    remedy: str


class Process(BaseModel):
    name: str
    note: str
    seen_s_ago: float


class Status(BaseModel):
    """What is where, and whether all is well."""

    node: str
    version: str
    troubles: list[Trouble]
    images: dict[Fate, int]
    received_today: int
    processes: list[Process]


class Image(BaseModel):
    """One image. Times are seconds since 1970."""

    id: int
    job_id: int
    fate: Fate
    reason: str
    received_at: float
    calling_ae: str
    called_ae: str
    modality: str
    body_part: str
    patient_id: str
    patient_name: str
    accession: str
    study_date: str
    study_uid: str
    series_uid: str
    sop_instance_uid: str
    purged: bool


class Images(BaseModel):
    """A page of images, the newest first. next: give it as `before` for the page after; none on the last one."""

    images: list[Image]
    next: int | None


class Delivery(BaseModel):
    destination: str
    state: str
    reason: str
    failures: int


class Output(BaseModel):
    id: int
    kind: Kind
    sop_instance_uid: str
    model: str
    scale: int
    bytes: int
    deliveries: list[Delivery]


class Event(BaseModel):
    at: float
    what: str
    text: str


class WholeImage(Image):
    """With its results, its journal and the numbers of its quality gate."""

    quality: dict[str, Any]
    outputs: list[Output]
    journal: list[Event]
    possible: list[Act]


class Told(BaseModel):
    """What was done, in words."""

    told: str


class Check(BaseModel):
    name: str
    verdict: str
    found: str
    remedy: str


class Verified(BaseModel):
    """Each promise held against the two files."""

    passed: bool
    checks: list[dict[str, Any]]


class RuleInForce(BaseModel):
    """As in the configuration."""

    rule: dict[str, Any]


class Rehearsed(BaseModel):
    """What would become of a file."""

    said: dict[str, str]
    asked: list[dict[str, Any]]
    rule: str | None
    priority: str
    refusal: str
    results: list[dict[str, Any]]
    left_out: list[str]


class Peer(BaseModel):
    """A peer, or an archive that speaks DICOMweb (without AE title)."""

    name: str
    ae_title: str
    place: str
    may: str
    commitment: str
    seen_s_ago: float | None
    took_s_ago: float | None
    failures: int
    reason: str


class Refusal(BaseModel):
    calling_ae: str
    address: str
    why: str
    times: int
    last_at: float


class Models(BaseModel):
    """Cards; what is in service; figures of what was made and compared.

    active: nothing where it is as configured. works: which weights that means on this machine.
    """

    configured: str
    works: str
    active: str
    previous: str
    shadow: str
    canary: str
    canary_share: float
    cards: list[dict[str, Any]]
    made: list[dict[str, Any]]
    shadows: list[dict[str, Any]]


class Service(BaseModel):
    """What is to be in service."""

    act: ModelAct
    name: str = Field(default="", max_length=64)
    share: float = Field(default=0.0, ge=0, le=1)


class Account(BaseModel):
    name: str
    role: str
    since: float


class NewAccount(BaseModel):
    name: str = Field(max_length=64)
    role: str = Field(max_length=20)
    password: str = Field(max_length=1000)


class Token(BaseModel):
    id: str
    note: str
    role: str
    account: str
    since: float
    seen_at: float


class NewToken(BaseModel):
    note: str = Field(max_length=64)
    role: str = Field(max_length=20)


class Secret(BaseModel):
    """Shown once."""

    token: str


@api.get("/status", tags=["node"])
def status(desk: OnDesk, person: ViewerToken) -> Status:
    """What is where, and whether all is well."""
    found = desk.condition()
    return Status(
        node=desk.settings.node.ae_title,
        version=__version__,
        troubles=[Trouble(**vars(trouble)) for trouble in found.troubles],
        images=dict(found.counts),
        received_today=desk.store.search.received_since(86_400),
        processes=[Process(**{k: slot[k] for k in Process.model_fields}) for slot in found.slots],
    )


@api.get("/images", tags=["images"])
def images(
    desk: OnDesk,
    person: ViewerToken,
    text: Text = "",
    accession: Text = "",
    name: Text = "",
    patient_id: Text = "",
    study_date: Annotated[str, Query(pattern="^([0-9]{8})?$")] = "",
    since: Annotated[float | None, Query(ge=0, le=1e12)] = None,
    until: Annotated[float | None, Query(ge=0, le=1e12)] = None,
    fate: Fate | None = None,
    peer: Text = "",
    modality: Text = "",
    before: Annotated[int | None, Query(ge=1, le=LARGEST)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Images:
    """Search: texts are parts of what is there, in any case; since and until are times of reception."""
    texts = {"text": text, "accession": accession, "name": name, "patient_id": patient_id}
    clean = {key: value.replace("\0", "") for key, value in (texts | {"peer": peer, "modality": modality}).items()}
    wanted = Wanted(**clean, study_date=study_date, since=since, until=until, fate=fate, before=before)
    rows = desk.store.search.images(wanted, limit + 1)
    more = rows[limit - 1]["id"] if len(rows) > limit else None
    return Images(images=[Image(**_image(row)) for row in rows[:limit]], next=more)


@api.get("/images/{image_id}", tags=["images"])
def image(desk: OnDesk, person: ViewerToken, image_id: Number) -> WholeImage:
    """One image with everything that happened to it."""
    row = desk.store.search.image(image_id)
    job = desk.store.jobs.get(row["job_id"])
    outputs = [(output, desk.store.deliveries.of_output(output.id)) for output in desk.store.outputs.of_job(job.id)]
    return WholeImage(
        **_image(row),
        quality=json.loads(job.quality) if job.quality else {},
        outputs=[
            Output(
                **{key: getattr(output, key) for key in Output.model_fields if key != "deliveries"},
                deliveries=[Delivery(**{k: getattr(way, k) for k in Delivery.model_fields}) for way in ways],
            )
            for output, ways in outputs
        ],
        journal=[Event(**event) for event in desk.store.instances.events(image_id)],
        possible=acts.possible(row, [way for _, ways in outputs for way in ways]),
    )


def _image(row: dict[str, Any]) -> dict[str, Any]:
    return {**{key: row[key] for key in Image.model_fields if key != "purged"}, "purged": bool(row["purged_at"])}


@api.post("/images/{image_id}/{act}", tags=["images"])
def act_on_image(request: Request, desk: OnDesk, person: OperatorToken, image_id: Number, act: Act) -> Told:
    """Retry, cancel, send again, mark as urgent, keep for ever or no longer. 404: its state does not allow it."""
    return Told(told=acts.on_image(desk, person, address_of(request), image_id, act))


@api.get("/images/{image_id}/file", tags=["images"], response_class=FileResponse, responses=_DICOM)
def file(request: Request, desk: OnDesk, person: OperatorToken, image_id: Number) -> FileResponse:
    """The image as it was received."""
    path = acts.taken_away(desk, person, address_of(request), image_id, None)
    return FileResponse(path, media_type="application/dicom")


@api.get("/images/{image_id}/outputs/{output_id}/file", tags=["images"], response_class=FileResponse, responses=_DICOM)
def output_file(
    request: Request, desk: OnDesk, person: OperatorToken, image_id: Number, output_id: Number
) -> FileResponse:
    """A result."""
    path = acts.taken_away(desk, person, address_of(request), image_id, output_id)
    return FileResponse(path, media_type="application/dicom")


@api.get("/images/{image_id}/outputs/{output_id}/verify", tags=["images"])
def verified(desk: OnDesk, person: ViewerToken, image_id: Number, output_id: Number) -> Verified:
    """What `srnode verify` says of a result and its source."""
    derived, source = acts.path_of_output(desk, image_id, output_id), acts.path_of_source(desk, image_id)
    checks = desk.lightbox.verify(derived, source)
    return Verified(passed=all(check.passed for check in checks), checks=[vars(check) for check in checks])


@api.get("/rules", tags=["rules"])
def rules(desk: OnDesk, person: ViewerToken) -> list[RuleInForce]:
    """The rules in force, in the order in which they are asked."""
    return [RuleInForce(rule=rule.model_dump(mode="json")) for rule in in_order(desk.settings.rules)]


@api.post("/rules/try", tags=["rules"])
def try_rules(
    desk: OnDesk,
    person: OperatorToken,
    file: Annotated[UploadFile, File(json_schema_extra={"format": "binary"})],
    calling_ae: Annotated[str, Form(max_length=64)] = "",
    called_ae: Annotated[str, Form(max_length=64)] = "",
) -> Rehearsed:
    """What would become of a file: which rule takes it, what is made, or why not. Nothing of it is kept."""
    trial = trials.of_upload(desk, file.file, calling_ae, called_ae)
    return Rehearsed(
        said=trial.said,
        asked=[vars(asked) for asked in trial.asked],
        rule=trial.rule,
        priority=trial.priority,
        refusal=trial.refusal,
        results=[vars(result) for result in trial.results],
        left_out=list(trial.left_out),
    )


@api.get("/peers", tags=["peers"])
def peers(desk: OnDesk, person: ViewerToken) -> list[Peer]:
    """Everybody we know, and how they fare."""
    return [Peer(**vars(one)) for one in neighbours.ls(desk, desk.store.search.last_seen())]


@api.post("/peers/{name}/try", tags=["peers"])
def try_peer(
    request: Request, desk: OnDesk, person: OperatorToken, name: Annotated[str, Path(max_length=64)]
) -> list[Check]:
    """TCP, TLS, association, contexts, C-ECHO, storage commitment; of a DICOMweb archive, whether it lets us in."""
    return [Check(**vars(check)) for check in neighbours.tried(desk, person, address_of(request), name)]


@api.get("/refused", tags=["peers"])
def refused(desk: OnDesk, person: ViewerToken) -> list[Refusal]:
    """Callers that were turned away lately."""
    return [Refusal(**caller) for caller in desk.store.refused.ls()]


@api.get("/models", tags=["models"])
def models(desk: OnDesk, person: ViewerToken) -> Models:
    """The weights there are, and which are in service."""
    found = catalogue.models(desk)
    return Models(**{**vars(found.pop("serving")), **found})


@api.post("/models", tags=["models"])
def act_on_models(request: Request, desk: OnDesk, person: AdministratorToken, wanted: Service) -> Told:
    """Activate, go back, run as shadow or canary. 404: there are no such weights."""
    return Told(told=acts.on_models(desk, person, address_of(request), wanted.act, wanted.name, wanted.share))


@api.get("/accounts", tags=["people"])
def accounts(desk: OnDesk, person: AdministratorToken) -> list[Account]:
    """Who may look in."""
    return [Account(**account) for account in desk.store.accounts.ls()]


@api.post("/accounts", tags=["people"], status_code=201)
def add_account(request: Request, desk: OnDesk, person: AdministratorToken, new: NewAccount) -> Told:
    """A new account. 409: the name is taken, or one of the three is not as it must be."""
    staff.add(desk, new.name, new.role, new.password)
    desk.note(person.name, address_of(request), f"made account {new.name}")
    return Told(told="made")


@api.delete("/accounts/{name}", tags=["people"])
def remove_account(
    request: Request, desk: OnDesk, person: AdministratorToken, name: Annotated[str, Path(max_length=64)]
) -> Told:
    """With all its sessions and tokens. 409: it is the only administrator."""
    desk.store.accounts.remove(name.replace("\0", ""))
    desk.note(person.name, address_of(request), f"removed account {name}")
    return Told(told="removed")


@api.get("/tokens", tags=["people"])
def tokens(desk: OnDesk, person: AdministratorToken) -> list[Token]:
    """Without their secrets."""
    rows = desk.store.accounts.tokens()
    return [Token(id=row["sha256"], **{k: row[k] for k in Token.model_fields if k != "id"}) for row in rows]


@api.post("/tokens", tags=["people"], status_code=201)
def make_token(request: Request, desk: OnDesk, person: AdministratorToken, new: NewToken) -> Secret:
    """A token of the same account; shown once."""
    role, note = staff.role_of(new.role), new.note.replace("\0", "")
    secret = desk.store.accounts.let_in(person.name, role, PassKind.TOKEN, note=note)
    desk.note(person.name, address_of(request), f"made a token for {note}")
    return Secret(token=secret)


@api.delete("/tokens/{token_id}", tags=["people"])
def revoke_token(
    request: Request, desk: OnDesk, person: AdministratorToken, token_id: Annotated[str, Path(max_length=64)]
) -> Told:
    """It lets nobody in any more."""
    if not desk.store.accounts.revoke(token_id.replace("\0", "")):
        raise NotFound("no token of this id")
    desk.note(person.name, address_of(request), f"revoked token {token_id[:12]}")
    return Told(told="revoked")
