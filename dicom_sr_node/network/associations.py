"""Associations that go out: made within limits, and released; why there is none, in words. And the C-ECHO SCU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from pynetdicom import AE, Association, build_role
from pynetdicom.dimse_primitives import C_ECHO
from pynetdicom.sop_class import Verification

from dicom_sr_node.config.destinations import Peer
from dicom_sr_node.dicom import software, syntaxes
from dicom_sr_node.dicom.statuses import SUCCESS, text
from dicom_sr_node.domain.errors import NothingAccepted, PeerRefused, PeerUnreachable
from dicom_sr_node.network import guard, tls
from dicom_sr_node.network.local_entity import LocalEntity
from dicom_sr_node.network.silence import why_silent

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


@contextmanager
def association(
    entity: LocalEntity,
    peer: Peer,
    contexts: Iterable[Context],
    *,
    handlers: Iterable[tuple[Any, ...]] = (),
    scp_of: str = "",
    response_timeout_s: float = 0.0,
) -> Iterator[Association]:
    """An association that is released at the end. Raises PeerUnreachable, saying why there is none.

    Why there is none is never the fault of what was to be sent over it.

    scp_of: a SOP class that we are the SCP of on it (PS3.7 D.3.3.4). response_timeout_s: for each answer, where it is
    not that of the settings.
    """
    limits, secure = entity.timeouts, entity.tls
    ae = AE(ae_title=entity.ae_title)
    ae.implementation_class_uid = software.IMPLEMENTATION_CLASS_UID
    ae.implementation_version_name = software.IMPLEMENTATION_VERSION
    ae.connection_timeout = limits.connect_timeout_s
    patience_s = response_timeout_s or limits.response_timeout_s
    ae.acse_timeout = limits.response_timeout_s
    ae.dimse_timeout = ae.network_timeout = patience_s
    for sop_class, syntax in contexts:
        ae.add_requested_context(sop_class, syntax)
    seconds = guard.Limits(idle_s=patience_s, pdu_s=limits.response_timeout_s)
    try:
        assoc = ae.associate(
            peer.host,
            peer.port,
            ae_title=peer.ae_title,
            max_pdu=guard.MAX_PDU_BYTES,
            ext_neg=[build_role(scp_of, scp_role=True)] if scp_of else None,
            tls_args=(tls.for_client(secure, check_host=not peer.certificate_sha256), peer.host) if peer.tls else None,
            evt_handlers=[*guard.handlers(seconds), *handlers],
        )
    except OSError as error:  # a host name that is not known
        raise PeerUnreachable(f"{name_of(peer)} cannot be reached: {error.strerror or error}") from error
    if not assoc.is_established:
        raise _why_not(assoc, entity, peer)
    if peer.tls and not tls.is_certificate_of(guard.connection_of(assoc), peer):
        assoc.abort()
        raise PeerUnreachable(f"{name_of(peer)} shows the certificate of somebody else")
    if 0 < assoc.acceptor.maximum_length < _SHORTEST_PDU:
        assoc.abort()
        raise PeerUnreachable(f"{name_of(peer)} takes PDUs of {assoc.acceptor.maximum_length} bytes only")
    try:
        yield assoc
    finally:
        if assoc.is_established:
            assoc.release()


def echo(entity: LocalEntity, peer: Peer) -> None:
    """C-ECHO. Raises PeerUnreachable or PeerRefused."""
    with association(entity, peer, [(str(Verification), syntaxes.UNCOMPRESSED[1])]) as assoc:
        try:
            with guard.exchange(assoc, C_ECHO) as message_id:
                answer = assoc.send_c_echo(msg_id=message_id)
        except (RuntimeError, OSError) as error:
            raise PeerUnreachable(f"the association with {name_of(peer)} broke: {error}") from error
        if "Status" not in answer:
            raise PeerUnreachable(
                f"{name_of(peer)} did not answer the C-ECHO in {entity.timeouts.response_timeout_s:g} s"
            )
        if answer.Status != SUCCESS:
            raise PeerRefused(f"{name_of(peer)} answered {text(answer.Status)}")


def name_of(peer: Peer) -> str:
    """For messages."""
    return f"{peer.ae_title}@{peer.host}:{peer.port}"


def _why_not(assoc: Association, entity: LocalEntity, peer: Peer) -> PeerUnreachable:
    answer = assoc.acceptor.primitive
    if assoc.is_rejected and answer is not None:
        source, reason = answer.result_source, answer.diagnostic
        why = _REJECTIONS.get((source, reason), f"source {source}, reason {reason}")
        return PeerUnreachable(f"{name_of(peer)} rejected the association: {why}")
    if assoc.is_aborted and assoc.rejected_contexts:
        return NothingAccepted(
            f"{name_of(peer)} accepts none of the SOP classes and transfer syntaxes that were offered"
        )
    return PeerUnreachable(f"{name_of(peer)}: {why_silent(entity, peer)}")
