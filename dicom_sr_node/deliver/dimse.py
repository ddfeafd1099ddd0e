"""The C-ECHO and C-STORE SCU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.uid import EnhancedSRStorage, SecondaryCaptureImageStorage
from pynetdicom import AE, Association, build_role
from pynetdicom.dimse_primitives import C_ECHO, C_STORE
from pynetdicom.sop_class import Verification

from dicom_sr_node.derive import encoding
from dicom_sr_node.derive.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
from dicom_sr_node.errors import PeerRefused, PeerUnreachable
from dicom_sr_node.network import commitment as wire
from dicom_sr_node.network import guard, syntaxes, tls
from dicom_sr_node.network.status import SUCCESS, error_for, is_stored, text
from dicom_sr_node.pixels import header
from dicom_sr_node.pixels.gate import RADIOGRAPHS
from dicom_sr_node.settings import Peer, Settings

Context = tuple[str, str]  # SOP class, transfer syntax

_REJECTIONS = {  # (source, reason) of A-ASSOCIATE-RJ, PS3.8 9.3.4
    (1, 2): "it does not support the application context",
    (1, 3): "it does not know our AE title; add it there",
    (1, 7): "it does not answer to this AE title; check ae_title of the peer",
    (2, 2): "it does not support the protocol version",
    (3, 1): "it is congested",
    (3, 2): "its limit of associations is reached",
}

_SHORTEST_PDU = 1024  # bytes; with less an image becomes millions of PDUs, and PS3.8 D.1 means more than headers
COMMITMENT: Context = (str(wire.SOP_CLASS), str(syntaxes.UNCOMPRESSED[1]))
COMPANIONS = (SecondaryCaptureImageStorage, EnhancedSRStorage)  # heat map, report


def offered(peer: Peer) -> list[Context]:
    """One context for each class and transfer syntax of what the node makes: of several in one, a peer picks any."""
    compressed = [encoding.COMPRESSED] if peer.compression == "jpeg-ls" else []
    return [
        *((str(uid), str(syntax)) for uid in RADIOGRAPHS for syntax in (*compressed, *syntaxes.UNCOMPRESSED)),
        *((str(uid), str(syntax)) for uid in COMPANIONS for syntax in syntaxes.UNCOMPRESSED),
        *([COMMITMENT] if peer.commitment != "off" else []),
    ]


def commits(assoc: Association) -> bool:
    """Whether the peer has accepted to be asked for storage commitment."""
    return any(context.abstract_syntax == wire.SOP_CLASS for context in assoc.accepted_contexts)


@contextmanager
def association(
    settings: Settings,
    peer: Peer,
    contexts: Iterable[Context],
    *,
    handlers: Iterable[tuple[Any, ...]] = (),
    reverse: bool = False,
) -> Iterator[Association]:
    """An association that is released at the end. Raises PeerUnreachable or PeerRefused, saying why there is none.

    reverse: we are the SCP of storage commitment on it (PS3.4 J.3.3).
    """
    calling_ae, limits, secure = settings.node.ae_title, settings.delivery, settings.tls
    ae = AE(ae_title=calling_ae)
    ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION
    ae.connection_timeout = limits.connect_timeout_s
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = limits.response_timeout_s
    for sop_class, syntax in contexts:
        ae.add_requested_context(sop_class, syntax)
    seconds = guard.Limits(idle_s=limits.response_timeout_s, pdu_s=limits.response_timeout_s)
    try:
        assoc = ae.associate(
            peer.host,
            peer.port,
            ae_title=peer.ae_title,
            max_pdu=guard.MAX_PDU_BYTES,
            ext_neg=[build_role(wire.SOP_CLASS, scp_role=True)] if reverse else None,
            tls_args=(tls.for_client(secure, check_host=not peer.certificate_sha256), peer.host) if peer.tls else None,
            evt_handlers=[*guard.handlers(seconds), *handlers],
        )
    except OSError as error:  # a host name that is not known
        raise PeerUnreachable(f"{_name(peer)} cannot be reached: {error.strerror or error}") from error
    if not assoc.is_established:
        raise _why_not(assoc, peer)
    if peer.tls and not tls.is_certificate_of(guard.connection_of(assoc), peer):
        assoc.abort()
        raise PeerUnreachable(f"{_name(peer)} shows the certificate of somebody else")
    if 0 < assoc.acceptor.maximum_length < _SHORTEST_PDU:
        assoc.abort()
        raise PeerRefused(f"{_name(peer)} takes PDUs of {assoc.acceptor.maximum_length} bytes only")
    try:
        yield assoc
    finally:
        if assoc.is_established:
            assoc.release()


def echo(settings: Settings, peer: Peer) -> None:
    """C-ECHO. Raises PeerUnreachable or PeerRefused."""
    with association(settings, peer, [(str(Verification), syntaxes.UNCOMPRESSED[1])]) as assoc:
        try:
            with guard.exchange(assoc, C_ECHO):
                answer = assoc.send_c_echo()
        except (RuntimeError, OSError) as error:
            raise PeerUnreachable(f"the association with {_name(peer)} broke: {error}") from error
        if "Status" not in answer:
            raise PeerUnreachable(
                f"{_name(peer)} did not answer the C-ECHO in {settings.delivery.response_timeout_s:g} s"
            )
        if answer.Status != SUCCESS:
            raise PeerRefused(f"{_name(peer)} answered {text(answer.Status)}")


def send(assoc: Association, path: Path, peer: Peer) -> str:
    """C-STORE of one file; returns a warning of the peer or nothing.

    A file in our own compression goes out plain where the peer did not accept that. Raises DeliveryError: the peer does
    not have it.
    """
    ds = header.read(path)
    if ds.file_meta.TransferSyntaxUID == encoding.COMPRESSED and not _accepts(assoc, ds):
        encoding.make_plain(ds)
    try:
        with guard.exchange(assoc, C_STORE):
            answer = assoc.send_c_store(ds)
    except ValueError as error:  # no accepted context for this class and syntax, or it cannot be encoded in one
        raise PeerRefused(f"{_name(peer)} takes no {_offer(ds)}: {error}") from error
    except (RuntimeError, OSError) as error:
        raise PeerUnreachable(f"the association with {_name(peer)} broke: {error}") from error
    if "Status" not in answer:
        raise PeerUnreachable(f"the association with {_name(peer)} broke, or no answer came in time")
    if not is_stored(answer.Status):
        raise error_for(answer.Status, str(answer.get("ErrorComment") or ""))
    return "" if answer.Status == SUCCESS else text(answer.Status)


def _accepts(assoc: Association, ds: Dataset) -> bool:
    wanted = (ds.SOPClassUID, ds.file_meta.TransferSyntaxUID)
    return any((c.abstract_syntax, c.transfer_syntax[0]) == wanted for c in assoc.accepted_contexts)


def context_of(path: Path) -> Context:
    """What a file needs to be sent as it is. Raises Unreadable."""
    ds = header.read(path, pixels=False)
    return header.check_uid(ds.get("SOPClassUID"), "SOP Class UID"), str(ds.file_meta.TransferSyntaxUID)


def _why_not(assoc: Association, peer: Peer) -> PeerUnreachable | PeerRefused:
    answer = assoc.acceptor.primitive
    if assoc.is_rejected and answer is not None:
        source, reason = answer.result_source, answer.diagnostic
        why = _REJECTIONS.get((source, reason), f"source {source}, reason {reason}")
        told = f"{_name(peer)} rejected the association: {why}"
        return PeerUnreachable(told) if answer.result == 2 or reason in (3, 7) else PeerRefused(told)
    if assoc.is_aborted and assoc.rejected_contexts:
        return PeerRefused(f"{_name(peer)} accepts none of the SOP classes and transfer syntaxes that were offered")
    return PeerUnreachable(
        f"{_name(peer)} at {peer.host}:{peer.port} does not answer: is it running, and is the port right?"
    )


def _name(peer: Peer) -> str:
    return f"{peer.ae_title}@{peer.host}:{peer.port}"


def _offer(ds: Dataset) -> str:
    return f"{ds.get('SOPClassUID')} in {ds.file_meta.TransferSyntaxUID.name}"
