"""What the REST interface takes and gives, as types: the source of its OpenAPI document."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from dicom_sr_node.actions.images import ImageAction
from dicom_sr_node.actions.models import DeploymentAction
from dicom_sr_node.domain.image_status import ImageStatus
from dicom_sr_node.domain.records import OutputKind


class ProblemView(BaseModel):
    kind: str
    subject: str
    text: str
    remedy: str


class ProcessView(BaseModel):
    name: str
    note: str
    seen_s_ago: float


class StatusView(BaseModel):
    """What is where, and whether all is well."""

    node: str
    version: str
    troubles: list[ProblemView]
    images: dict[ImageStatus, int]
    received_today: int
    processes: list[ProcessView]


class ImageView(BaseModel):
    """One image. Times are seconds since 1970."""

    id: int
    job_id: int
    fate: ImageStatus
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


class ImagePage(BaseModel):
    """A page of images, the newest first. next: give it as `before` for the page after; none on the last one."""

    images: list[ImageView]
    next: int | None


class DeliveryView(BaseModel):
    destination: str
    state: str
    reason: str
    failures: int


class OutputView(BaseModel):
    id: int
    kind: OutputKind
    sop_instance_uid: str
    model: str
    scale: int
    bytes: int
    deliveries: list[DeliveryView]


class JournalEntry(BaseModel):
    at: float
    what: str
    text: str


class ImageDetails(ImageView):
    """With its results, its journal and the numbers of its quality gate."""

    quality: dict[str, Any]
    outputs: list[OutputView]
    journal: list[JournalEntry]
    possible: list[ImageAction]


class ActionResult(BaseModel):
    """What was done, in words."""

    told: str


class DiagnosisView(BaseModel):
    name: str
    verdict: str
    found: str
    remedy: str


class VerifyResult(BaseModel):
    """Each promise held against the two files."""

    passed: bool
    checks: list[dict[str, Any]]


class RuleView(BaseModel):
    """As in the configuration."""

    rule: dict[str, Any]


class RuleTestView(BaseModel):
    """What would become of a file."""

    said: dict[str, str]
    asked: list[dict[str, Any]]
    rule: str | None
    priority: str
    refusal: str
    results: list[dict[str, Any]]
    left_out: list[str]


class PeerView(BaseModel):
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


class RefusalView(BaseModel):
    calling_ae: str
    address: str
    why: str
    times: int
    last_at: float


class ModelsView(BaseModel):
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


class DeploymentChange(BaseModel):
    """What is to be in service."""

    act: DeploymentAction
    name: str = Field(default="", max_length=64)
    share: float = Field(default=0.0, ge=0, le=1)


class AccountView(BaseModel):
    name: str
    role: str
    since: float


class NewAccount(BaseModel):
    name: str = Field(max_length=64)
    role: str = Field(max_length=20)
    password: str = Field(max_length=1000)


class TokenView(BaseModel):
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
