"""STOW-RS (PS3.18 10.5): a result to an archive that speaks DICOMweb."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset

from dicom_sr_node.derive import encoding
from dicom_sr_node.errors import ConfigRefused, PeerBusy, PeerRefused, PeerUnreachable
from dicom_sr_node.network.commitment import PROCESSING_FAILURE
from dicom_sr_node.network.status import error_for, is_stored, text
from dicom_sr_node.pixels import header
from dicom_sr_node.settings import Dicomweb, Settings

_PASSES = {401: "it wants other credentials: check token_file", 403: "it does not allow this: check what the token may"}


@contextmanager
def client(settings: Settings, place: Dicomweb) -> Iterator[DICOMwebClient]:
    """A client with the token or the certificate of this node. Raises ConfigRefused."""
    with requests.Session() as session:
        session.trust_env = False  # no proxy, and no password of a file in somebody's home
        if place.token_file:
            try:
                token = place.token_file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigRefused(f"token_file {place.token_file} cannot be read: {error}") from error
            session.headers["Authorization"] = f"Bearer {token}"
        secure = settings.tls
        if place.url.startswith("https:") and secure.authorities:
            session.verify = str(secure.authorities)
        if place.mutual_tls:
            session.cert = (str(secure.certificate), str(secure.private_key))
        limits = settings.delivery
        made = DICOMwebClient(place.url, session, timeout=(limits.connect_timeout_s, limits.response_timeout_s))
        made.set_http_retry_params(retry=False)  # the queue tries again
        yield made


def send(sender: DICOMwebClient, path: Path, place: Dicomweb) -> str:
    """One file; returns a warning of the archive or nothing. Raises DeliveryError: the archive does not have it."""
    ds = header.read(path)
    if place.compression == "none":
        encoding.make_plain(ds)
    try:
        answer = sender.store_instances([ds])
    except requests.HTTPError as error:
        raise _refusal(error, place) from error
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise PeerUnreachable(f"the answer of {place.url} makes no sense: {type(error).__name__}") from error
    except (requests.RequestException, OSError) as error:
        raise PeerUnreachable(f"{place.url} does not answer: {type(error).__name__}") from error
    return _warning(answer, str(ds.SOPInstanceUID), place)


def reach(settings: Settings, place: Dicomweb) -> None:
    """Ask for one study: is it there, and does it let us in? Raises DeliveryError."""
    try:
        with client(settings, place) as asker:
            asker.search_for_studies(limit=1)
    except requests.HTTPError as error:
        raise _refusal(error, place) from error
    except (requests.RequestException, OSError) as error:
        raise PeerUnreachable(f"{place.url} does not answer: {type(error).__name__}") from error


def _warning(answer: Dataset, uid: str, place: Dicomweb) -> str:
    """Raises DeliveryError where the archive has not stored it, whatever its HTTP status was (PS3.18 10.5.3)."""
    for item in answer.get("FailedSOPSequence") or ():
        reason = int(item.get("FailureReason") or PROCESSING_FAILURE)
        if is_stored(reason):
            return text(reason)
        raise error_for(reason, "")
    stored = {str(item.get("ReferencedSOPInstanceUID")): item for item in answer.get("ReferencedSOPSequence") or ()}
    if uid not in stored:
        raise PeerUnreachable(f"{place.url} does not say that it has stored the object")
    warning = stored[uid].get("WarningReason")
    return text(int(warning)) if warning else ""


def _refusal(error: requests.HTTPError, place: Dicomweb) -> PeerUnreachable | PeerBusy | PeerRefused:
    status = error.response.status_code if error.response is not None else 0
    told = f"{place.url} answered {status}"
    if status in _PASSES:
        return PeerUnreachable(f"{told}: {_PASSES[status]}")
    if status in (408, 429) or status >= 500:
        return PeerBusy(told)
    if status == 404:
        return PeerUnreachable(f"{told}: is this the address of its DICOMweb service?")
    return PeerRefused(told)
