"""The REST interface, `/api/v1`: the same powers as the dashboard, by token."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Path, Query, Request, UploadFile
from fastapi.responses import FileResponse

from dicom_sr_node import __version__
from dicom_sr_node.actions.images import ImageAction, possible
from dicom_sr_node.domain.errors import NotFound
from dicom_sr_node.domain.image_status import ImageStatus
from dicom_sr_node.rules.routing import in_order
from dicom_sr_node.store.accounts import PassKind as PassKind
from dicom_sr_node.store.search import ImageQuery
from dicom_sr_node.web.api.schemas import (
    AccountView,
    ActionResult,
    DeliveryView,
    DeploymentChange,
    DiagnosisView,
    ImageDetails,
    ImagePage,
    ImageView,
    JournalEntry,
    ModelsView,
    NewAccount,
    NewToken,
    OutputView,
    PeerView,
    ProblemView,
    ProcessView,
    RefusalView,
    RuleTestView,
    RuleView,
    Secret,
    StatusView,
    TokenView,
    VerifyResult,
)
from dicom_sr_node.web.auth import accounts as staff
from dicom_sr_node.web.auth.access import (
    LARGEST,
    AdministratorToken,
    Context,
    Number,
    OperatorToken,
    Text,
    ViewerToken,
    address_of,
)
from dicom_sr_node.web.base import destinations, files, model_metrics, rule_tester, wording
from dicom_sr_node.web.base.body_limit import BodyLimitRoute
from dicom_sr_node.web.base.context import actor_of
from dicom_sr_node.web.base.problems import documented

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
    route_class=BodyLimitRoute,
)


@api.get("/status", tags=["node"])
def status(context: Context, person: ViewerToken) -> StatusView:
    """What is where, and whether all is well."""
    health = context.health()
    return StatusView(
        node=context.settings.node.ae_title,
        version=__version__,
        troubles=[ProblemView(**vars(problem)) for problem in health.problems],
        images=dict(health.counts),
        received_today=context.store.search.received_since(86_400),
        processes=[ProcessView(**{k: process[k] for k in ProcessView.model_fields}) for process in health.processes],
    )


@api.get("/images", tags=["images"])
def images(
    context: Context,
    person: ViewerToken,
    text: Text = "",
    accession: Text = "",
    name: Text = "",
    patient_id: Text = "",
    study_date: Annotated[str, Query(pattern="^([0-9]{8})?$")] = "",
    since: Annotated[float | None, Query(ge=0, le=1e12)] = None,
    until: Annotated[float | None, Query(ge=0, le=1e12)] = None,
    fate: ImageStatus | None = None,
    peer: Text = "",
    modality: Text = "",
    before: Annotated[int | None, Query(ge=1, le=LARGEST)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> ImagePage:
    """Search: texts are parts of what is there, in any case; since and until are times of reception."""
    texts = {"text": text, "accession": accession, "name": name, "patient_id": patient_id}
    clean = {key: value.replace("\0", "") for key, value in (texts | {"peer": peer, "modality": modality}).items()}
    query = ImageQuery(**clean, study_date=study_date, since=since, until=until, status=fate, before=before)
    rows = context.store.search.images(query, limit + 1)
    more = rows[limit - 1]["id"] if len(rows) > limit else None
    return ImagePage(images=[ImageView(**_image(row)) for row in rows[:limit]], next=more)


@api.get("/images/{image_id}", tags=["images"])
def image(context: Context, person: ViewerToken, image_id: Number) -> ImageDetails:
    """One image with everything that happened to it."""
    row = context.store.search.image(image_id)
    job = context.store.jobs.get(row["job_id"])
    outputs = [
        (output, context.store.deliveries.of_output(output.id)) for output in context.store.outputs.of_job(job.id)
    ]
    return ImageDetails(
        **_image(row),
        quality=json.loads(job.quality) if job.quality else {},
        outputs=[
            OutputView(
                **{key: getattr(output, key) for key in OutputView.model_fields if key != "deliveries"},
                deliveries=[DeliveryView(**{k: getattr(way, k) for k in DeliveryView.model_fields}) for way in ways],
            )
            for output, ways in outputs
        ],
        journal=[JournalEntry(**event) for event in context.store.instances.events(image_id)],
        possible=possible(
            row,
            [way for _, ways in outputs for way in ways],
            superseded=any(output.superseded_by > 0 for output, _ in outputs),
        ),
    )


def _image(row: dict[str, Any]) -> dict[str, Any]:
    plain = {key: row[key] for key in ImageView.model_fields if key not in ("purged", "fate")}
    return {**plain, "fate": row["status"], "purged": bool(row["purged_at"])}


@api.post("/images/{image_id}/{act}", tags=["images"])
def act_on_image(
    request: Request, context: Context, person: OperatorToken, image_id: Number, act: ImageAction
) -> ActionResult:
    """Retry, cancel, send again, mark as urgent, keep for ever or no longer, reject. 404: not in its state."""
    job_id = int(context.store.search.image(image_id)["job_id"])
    outcome = context.image_actions.act(act, job_id, actor_of(request, person))
    return ActionResult(told=wording.sentence(outcome))


@api.get("/images/{image_id}/file", tags=["images"], response_class=FileResponse, responses=_DICOM)
def file(request: Request, context: Context, person: OperatorToken, image_id: Number) -> FileResponse:
    """The image as it was received."""
    path = files.download(context, actor_of(request, person), image_id, None)
    return FileResponse(path, media_type="application/dicom")


@api.get("/images/{image_id}/outputs/{output_id}/file", tags=["images"], response_class=FileResponse, responses=_DICOM)
def output_file(
    request: Request, context: Context, person: OperatorToken, image_id: Number, output_id: Number
) -> FileResponse:
    """A result."""
    path = files.download(context, actor_of(request, person), image_id, output_id)
    return FileResponse(path, media_type="application/dicom")


@api.get("/images/{image_id}/outputs/{output_id}/verify", tags=["images"])
def verified(context: Context, person: ViewerToken, image_id: Number, output_id: Number) -> VerifyResult:
    """What `srnode verify` says of a result and its source."""
    derived, source = files.output_path(context, image_id, output_id), files.source_path(context, image_id)
    checks = context.lightbox.verify(derived, source)
    return VerifyResult(passed=all(check.passed for check in checks), checks=[vars(check) for check in checks])


@api.get("/rules", tags=["rules"])
def rules(context: Context, person: ViewerToken) -> list[RuleView]:
    """The rules in force, in the order in which they are asked."""
    return [RuleView(rule=rule.model_dump(mode="json")) for rule in in_order(context.settings.rules)]


@api.post("/rules/try", tags=["rules"])
def try_rules(
    context: Context,
    person: OperatorToken,
    file: Annotated[UploadFile, File(json_schema_extra={"format": "binary"})],
    calling_ae: Annotated[str, Form(max_length=64)] = "",
    called_ae: Annotated[str, Form(max_length=64)] = "",
) -> RuleTestView:
    """What would become of a file: which rule takes it, what is made, or why not. Nothing of it is kept."""
    trial = rule_tester.of_upload(context, file.file, calling_ae, called_ae)
    return RuleTestView(
        said=trial.said,
        asked=[vars(asked) for asked in trial.asked],
        rule=trial.rule,
        priority=trial.priority,
        refusal=trial.refusal,
        results=[vars(result) for result in trial.results],
        left_out=list(trial.left_out),
    )


@api.get("/peers", tags=["peers"])
def peers(context: Context, person: ViewerToken) -> list[PeerView]:
    """Everybody we know, and how they fare."""
    return [PeerView(**vars(one)) for one in destinations.ls(context, context.store.search.last_seen())]


@api.post("/peers/{name}/try", tags=["peers"])
def try_peer(
    request: Request, context: Context, person: OperatorToken, name: Annotated[str, Path(max_length=64)]
) -> list[DiagnosisView]:
    """TCP, TLS, association, contexts, C-ECHO, storage commitment; of a DICOMweb archive, whether it lets us in."""
    return [DiagnosisView(**vars(check)) for check in destinations.check(context, actor_of(request, person), name)]


@api.get("/refused", tags=["peers"])
def refused(context: Context, person: ViewerToken) -> list[RefusalView]:
    """Callers that were turned away lately."""
    return [RefusalView(**caller) for caller in context.store.refused.ls()]


@api.get("/models", tags=["models"])
def models(context: Context, person: ViewerToken) -> ModelsView:
    """The weights there are, and which are in service."""
    metrics = model_metrics.models(context)
    return ModelsView(**{**vars(metrics.pop("serving")), **metrics})


@api.post("/models", tags=["models"])
def act_on_models(
    request: Request, context: Context, person: AdministratorToken, change: DeploymentChange
) -> ActionResult:
    """Activate, go back, run as shadow or canary. 404: there are no such weights."""
    outcome = context.model_actions.act(change.act, actor_of(request, person), change.name, change.share)
    return ActionResult(told=outcome.sentence)


@api.get("/accounts", tags=["people"])
def accounts(context: Context, person: AdministratorToken) -> list[AccountView]:
    """Who may look in."""
    return [AccountView(**account) for account in context.store.accounts.ls()]


@api.post("/accounts", tags=["people"], status_code=201)
def add_account(request: Request, context: Context, person: AdministratorToken, new: NewAccount) -> ActionResult:
    """A new account. 409: the name is taken, or one of the three is not as it must be."""
    staff.add(context, new.name, new.role, new.password)
    context.note(person.name, address_of(request), f"made account {new.name}")
    return ActionResult(told="made")


@api.delete("/accounts/{name}", tags=["people"])
def remove_account(
    request: Request, context: Context, person: AdministratorToken, name: Annotated[str, Path(max_length=64)]
) -> ActionResult:
    """With all its sessions and tokens. 409: it is the only administrator."""
    context.store.accounts.remove(name.replace("\0", ""))
    context.note(person.name, address_of(request), f"removed account {name}")
    return ActionResult(told="removed")


@api.get("/tokens", tags=["people"])
def tokens(context: Context, person: AdministratorToken) -> list[TokenView]:
    """Without their secrets."""
    rows = context.store.accounts.tokens()
    return [TokenView(id=row["sha256"], **{k: row[k] for k in TokenView.model_fields if k != "id"}) for row in rows]


@api.post("/tokens", tags=["people"], status_code=201)
def make_token(request: Request, context: Context, person: AdministratorToken, new: NewToken) -> Secret:
    """A token of the same account; shown once."""
    role, note = staff.role_of(new.role), new.note.replace("\0", "")
    secret = context.store.accounts.let_in(person.name, role, PassKind.TOKEN, note=note)
    context.note(person.name, address_of(request), f"made a token for {note}")
    return Secret(token=secret)


@api.delete("/tokens/{token_id}", tags=["people"])
def revoke_token(
    request: Request, context: Context, person: AdministratorToken, token_id: Annotated[str, Path(max_length=64)]
) -> ActionResult:
    """It lets nobody in any more."""
    if not context.store.accounts.revoke(token_id.replace("\0", "")):
        raise NotFound("no token of this id")
    context.note(person.name, address_of(request), f"revoked token {token_id[:12]}")
    return ActionResult(told="revoked")
