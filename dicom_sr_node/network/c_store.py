"""The C-STORE SCU."""

from __future__ import annotations

from pathlib import Path

from pydicom import Dataset
from pynetdicom import Association
from pynetdicom.dimse_primitives import C_STORE

from dicom_sr_node.config.destinations import Peer
from dicom_sr_node.dicom import header
from dicom_sr_node.dicom.statuses import SUCCESS, error_for, is_stored, text
from dicom_sr_node.domain.errors import PeerRefused, PeerUnreachable
from dicom_sr_node.network import guard
from dicom_sr_node.network.associations import Context, name_of


def send(assoc: Association, ds: Dataset, peer: Peer) -> str:
    """C-STORE of one data set with its file meta information; returns a warning of the peer or nothing.

    Raises DeliveryError: the peer does not have it.
    """
    try:
        with guard.exchange(assoc, C_STORE, str(ds.SOPInstanceUID)) as message_id:
            answer = assoc.send_c_store(ds, msg_id=message_id)
    except ValueError as error:  # no accepted context for this class and syntax, or it cannot be encoded in one
        raise PeerRefused(f"{name_of(peer)} takes no {_offer(ds)}: {error}") from error
    except (RuntimeError, OSError) as error:
        raise PeerUnreachable(f"the association with {name_of(peer)} broke: {error}") from error
    if "Status" not in answer:
        raise PeerUnreachable(f"the association with {name_of(peer)} broke, or no answer came in time")
    comment = str(answer.get("ErrorComment") or "")
    if not is_stored(answer.Status):
        raise error_for(answer.Status, comment)
    return "" if answer.Status == SUCCESS else f"{text(answer.Status)}{comment and f' ({comment})'}"


def accepts(assoc: Association, ds: Dataset) -> bool:
    """Whether the peer takes the class of a data set in its transfer syntax."""
    context = (ds.SOPClassUID, ds.file_meta.TransferSyntaxUID)
    return any((c.abstract_syntax, c.transfer_syntax[0]) == context for c in assoc.accepted_contexts)


def context_of(path: Path) -> Context:
    """What a file needs to be sent as it is. Raises Unreadable."""
    ds = header.read(path, pixels=False)
    return header.check_uid(ds.get("SOPClassUID"), "SOP Class UID"), str(ds.file_meta.TransferSyntaxUID)


def _offer(ds: Dataset) -> str:
    return f"{ds.get('SOPClassUID')} in {ds.file_meta.TransferSyntaxUID.name}"
