"""STOW-RS (PS3.18 10.5): a result to an archive that speaks DICOMweb."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset

from dicom_sr_node.commitment.scu import CommitmentScu
from dicom_sr_node.commitment.wire import PROCESSING_FAILURE
from dicom_sr_node.config.destinations import Dicomweb
from dicom_sr_node.deliver.destinations.base import Commitment, Connection, Description, Surroundings
from dicom_sr_node.derive import encoding
from dicom_sr_node.dicom import header
from dicom_sr_node.dicom.statuses import error_for, is_stored, text
from dicom_sr_node.domain.diagnosis import Diagnosis, Verdict
from dicom_sr_node.domain.errors import ConfigRefused, NodeError, PeerBusy, PeerRefused, PeerUnreachable
from dicom_sr_node.domain.records import Output
from dicom_sr_node.network.local_entity import LocalEntity
from dicom_sr_node.store.commitments import Commitments

_PASSES = {401: "it wants other credentials: check token_file", 403: "it does not allow this: check what the token may"}


class StowRs:
    """A DICOMweb archive."""

    commitment: Commitment = "off"  # STOW-RS has none

    def __init__(self, name: str, section: Dicomweb, node: Surroundings) -> None:
        self._name, self._section, self._entity = name, section, node.entity

    @contextmanager
    def open(self) -> Iterator[Connection]:
        """A client with the token or the certificate of this node. Raises ConfigRefused."""
        with _client(self._entity, self._section) as client:
            yield _Session(client, self._section)

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
        try:
            with _client(self._entity, self._section) as client:
                client.search_for_studies(limit=1)
        except requests.HTTPError as error:
            raise _refusal(error, self._section) from error
        except (requests.RequestException, OSError) as error:
            raise PeerUnreachable(f"{self._section.url} does not answer: {type(error).__name__}") from error


class _Session:
    is_usable = True
    offers_commitment = False

    def __init__(self, client: DICOMwebClient, section: Dicomweb) -> None:
        self._client, self._section = client, section

    def send(self, output: Output, path: Path) -> str:
        ds = header.read(path)
        if self._section.compression == "none":
            encoding.make_plain(ds)
        try:
            answer = self._client.store_instances([ds])
        except requests.HTTPError as error:
            raise _refusal(error, self._section) from error
        except (ValueError, AttributeError, TypeError, KeyError) as error:
            raise PeerUnreachable(
                f"the answer of {self._section.url} makes no sense: {type(error).__name__}"
            ) from error
        except (requests.RequestException, OSError) as error:
            raise PeerUnreachable(f"{self._section.url} does not answer: {type(error).__name__}") from error
        return _warning(answer, str(ds.SOPInstanceUID), self._section)


@contextmanager
def _client(entity: LocalEntity, section: Dicomweb) -> Iterator[DICOMwebClient]:
    """A client with the token or the certificate of this node. Raises ConfigRefused."""
    with requests.Session() as session:
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
        yield client


def _warning(answer: Dataset, uid: str, section: Dicomweb) -> str:
    """Raises DeliveryError where the archive has not stored it, whatever its HTTP status was (PS3.18 10.5.3)."""
    for item in answer.get("FailedSOPSequence") or ():
        reason = int(item.get("FailureReason") or PROCESSING_FAILURE)
        if is_stored(reason):
            return text(reason)
        raise error_for(reason, "")
    stored = {str(item.get("ReferencedSOPInstanceUID")): item for item in answer.get("ReferencedSOPSequence") or ()}
    if uid not in stored:
        raise PeerUnreachable(f"{section.url} does not say that it has stored the object")
    warning = stored[uid].get("WarningReason")
    return text(int(warning)) if warning else ""


def _refusal(error: requests.HTTPError, section: Dicomweb) -> PeerUnreachable | PeerBusy | PeerRefused:
    status = error.response.status_code if error.response is not None else 0
    answered = f"{section.url} answered {status}"
    if status in _PASSES:
        return PeerUnreachable(f"{answered}: {_PASSES[status]}")
    if status in (408, 429) or status >= 500:
        return PeerBusy(answered)
    if status == 404:
        return PeerUnreachable(f"{answered}: is this the address of its DICOMweb service?")
    return PeerRefused(answered)
