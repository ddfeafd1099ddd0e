"""STOW-RS (PS3.18 10.5): a result to an archive that speaks DICOMweb."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset

from dicom_sr_node.commitment.scu import CommitmentScu
from dicom_sr_node.config.destinations import Dicomweb
from dicom_sr_node.deliver.destinations.base import Commitment, Connection, Description, Surroundings, blamed
from dicom_sr_node.deliver.destinations.stow_answer import StowAnswer
from dicom_sr_node.derive import encoding
from dicom_sr_node.dicom import header
from dicom_sr_node.dicom.statuses import DUPLICATE, text
from dicom_sr_node.domain.diagnosis import Diagnosis, Verdict
from dicom_sr_node.domain.errors import (
    ConfigRefused,
    DeliveryError,
    NodeError,
    PeerBusy,
    PeerDoubts,
    PeerRefused,
    PeerUnreachable,
    Unreadable,
)
from dicom_sr_node.domain.records import Output
from dicom_sr_node.network import addresses
from dicom_sr_node.network.local_entity import LocalEntity
from dicom_sr_node.store.commitments import Commitments

_CONFLICT = 409
_PASSES = {401: "it wants other credentials: check token_file", 403: "it does not allow this: check what the token may"}


class StowRs:
    """A DICOMweb archive."""

    commitment: Commitment = "off"  # STOW-RS has none

    def __init__(self, name: str, section: Dicomweb, node: Surroundings) -> None:
        self._name, self._section, self._entity = name, section, node.entity

    @contextmanager
    def open(self) -> Iterator[Connection]:
        """A client with the token or the certificate of this node. Raises ConfigRefused."""
        with _client(self._entity, self._section) as (client, session):
            yield _Session(client, session, self._section)

    def check(self, commitments: Commitments) -> Iterator[Diagnosis]:
        """Whether it answers, and lets us in."""
        name = f"{self._name} dicomweb"
        try:
            self._search()
        except (NodeError, OSError) as error:
            yield Diagnosis(name, Verdict.FAIL, str(error), "check its url, its token and its certificate")
            return
        yield Diagnosis(name, Verdict.PASS, f"{self._section.url} answers")

    def describe(self) -> Description:
        """It has no AE title, and sends nothing."""
        return Description("", self._section.url, "nothing", "")

    def commitment_scu(self, commitments: Commitments) -> CommitmentScu | None:
        """Its answer says all that it will say."""
        return None

    def audit_address(self) -> tuple[str, str] | None:
        """By its name and URL."""
        return self._name, self._section.url

    def _search(self) -> None:
        """Ask for one study: is it there, and does it let us in? Raises DeliveryError."""
        with _client(self._entity, self._section) as (client, session):
            answer = _answer(session, self._section, lambda: client.search_for_studies(limit=1))
        if not _is_success(answer):
            raise _refusal(answer, self._section)


class _Session:
    is_usable = True
    offers_commitment = False

    def __init__(self, client: DICOMwebClient, session: _NeverElsewhere, section: Dicomweb) -> None:
        self._client, self._session, self._section = client, session, section

    def send(self, output: Output, path: Path, *, plain: bool) -> str:
        ds = header.read(path)
        if plain or self._section.compression == "none":
            encoding.make_plain(ds)
        try:
            answer = _answer(self._session, self._section, lambda: self._client.store_instances([ds]))
            return self._judge(answer, ds)
        except (PeerRefused, PeerDoubts) as error:
            raise blamed(error, ds) from error

    def _judge(self, answer: requests.Response, ds: Dataset) -> str:
        """A warning of the archive or nothing. Raises DeliveryError: it has not stored the object."""
        try:
            warning = StowAnswer.read(answer).warning_on(str(ds.SOPInstanceUID))
        except Unreadable as error:
            if _is_success(answer):
                raise PeerUnreachable(f"the answer of {self._section.url} makes no sense: {error}") from error
            warning = None
        if warning is not None:
            return warning
        if answer.status_code == _CONFLICT:
            if self._has(ds):  # the answer to an earlier try was lost
                return text(DUPLICATE)
            raise PeerDoubts(f"{self._section.url} answered 409, and not why")
        if _is_success(answer):
            raise PeerUnreachable(f"{self._section.url} does not say that it has stored the object")
        raise _refusal(answer, self._section)

    def _has(self, ds: Dataset) -> bool:
        """Whether the archive finds an object that it will not say anything of."""
        uids = str(ds.StudyInstanceUID), str(ds.SeriesInstanceUID)
        try:
            found = self._client.search_for_instances(*uids, search_filters={"SOPInstanceUID": ds.SOPInstanceUID})
            return any(Dataset.from_json(item).get("SOPInstanceUID") == ds.SOPInstanceUID for item in found)
        except (requests.RequestException, OSError, ValueError, AttributeError, TypeError, KeyError):
            return False


class _NeverElsewhere(requests.Session):
    """Follows no redirect: nobody but the archive that is configured gets a patient's image. last: its last answer."""

    last: requests.Response | None = None

    def request(self, *arguments: Any, **more: Any) -> requests.Response:
        self.last = super().request(*arguments, **{**more, "allow_redirects": False})
        return self.last


@contextmanager
def _client(entity: LocalEntity, section: Dicomweb) -> Iterator[tuple[DICOMwebClient, _NeverElsewhere]]:
    """A client with the token or the certificate of this node. Raises ConfigRefused."""
    with _NeverElsewhere() as session:
        session.headers["Accept"] = "application/dicom+json"
        session.trust_env = False  # no proxy, and no password of a file in somebody's home
        if section.token_file:
            try:
                token = section.token_file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigRefused(f"token_file {section.token_file} cannot be read: {error}") from error
            session.headers["Authorization"] = f"Bearer {token}"
        secure = entity.tls
        if section.url.startswith("https:") and secure.authorities:
            session.verify = str(secure.authorities)
        if section.mutual_tls:
            session.cert = (str(secure.certificate), str(secure.private_key))
        limits = entity.timeouts
        client = DICOMwebClient(section.url, session, timeout=(limits.connect_timeout_s, limits.response_timeout_s))
        client.set_http_retry_params(retry=False)  # the queue tries again
        yield client, session


def _answer(session: _NeverElsewhere, section: Dicomweb, ask: Callable[[], object]) -> requests.Response:
    """An archive's answer, whatever its status. Raises PeerUnreachable where there is none."""
    session.last = None
    why = "nothing came"
    try:
        ask()
    except (requests.RequestException, OSError, ValueError, AttributeError, TypeError, KeyError) as error:
        why = type(error).__name__  # or there is an answer that was not understood, or no success
    if session.last is None:
        raise PeerUnreachable(f"{section.url} does not answer: {why}")
    return session.last


def _is_success(answer: requests.Response) -> bool:
    return 200 <= answer.status_code < 300


def _refusal(answer: requests.Response, section: Dicomweb) -> DeliveryError:
    """What an HTTP status means that comes without a word on the object."""
    status = answer.status_code
    answered = f"{section.url} answered {status}"
    if status in _PASSES:
        return PeerUnreachable(f"{answered}: {_PASSES[status]}")
    if 300 <= status < 400:
        to = addresses.without_secrets(answer.headers.get("Location", "nowhere"))
        return PeerUnreachable(f"{answered}: it points to {to}; if that is the archive, put its address into url")
    if status in (408, 429) or status >= 500:
        return PeerBusy(answered)
    if status == 404:
        return PeerUnreachable(f"{answered}: is this the address of its DICOMweb service?")
    if status == 413:
        remedy = "raise the limit of the proxy before it (nginx: client_max_body_size) or compress what is sent"
        return PeerRefused(f"{answered}: the object is too large for it; {remedy}")
    return PeerRefused(answered)
