"""DIMSE: C-STORE to a peer, and storage commitment where it offers that."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom.uid import EnhancedSRStorage, SecondaryCaptureImageStorage, generate_uid
from pynetdicom import Association
from pynetdicom.dimse_primitives import N_ACTION

from dicom_sr_node.commitment import wire
from dicom_sr_node.commitment.scu import CommitmentScu
from dicom_sr_node.commitment.wire import REQUEST, SOP_CLASS, SOP_INSTANCE, CommitmentAction
from dicom_sr_node.config.destinations import Peer
from dicom_sr_node.deliver.destinations.base import Commitment, Connection, Description, Surroundings, blamed
from dicom_sr_node.derive import encoding, rejection
from dicom_sr_node.dicom import header, sop_kinds, syntaxes
from dicom_sr_node.dicom.sop_kinds import KINDS
from dicom_sr_node.dicom.statuses import SUCCESS
from dicom_sr_node.domain.diagnosis import Diagnosis, Verdict
from dicom_sr_node.domain.errors import DeliveryError, NodeError, PeerDoubts, PeerRefused, PeerUnreachable
from dicom_sr_node.domain.records import Output, Reference
from dicom_sr_node.network import associations, c_store, guard
from dicom_sr_node.network.associations import Context
from dicom_sr_node.store.commitments import Commitments

COMPANIONS = (SecondaryCaptureImageStorage, EnhancedSRStorage, rejection.SOP_CLASS)  # heat map, report, note
_REPORT_S = 10.0


def offered(peer: Peer) -> list[Context]:
    """One context for each class and transfer syntax of what the node makes: of several in one, a peer picks any."""
    compressed = [encoding.COMPRESSED] if peer.compression == "jpeg-ls" else []
    return [
        *((uid, str(syntax)) for uid in KINDS for syntax in (*compressed, *syntaxes.UNCOMPRESSED)),
        *((str(uid), str(syntax)) for uid in COMPANIONS for syntax in syntaxes.UNCOMPRESSED),
        *([wire.CONTEXT] if peer.commitment != "off" else []),
    ]


class Dimse:
    """A peer that is sent to by C-STORE."""

    def __init__(self, name: str, section: Peer, node: Surroundings) -> None:
        self._name, self._peer, self._node = name, section, node

    @contextmanager
    def open(self) -> Iterator[Connection]:
        """An association with every context that may be needed. Raises DeliveryError."""
        with associations.association(self._node.entity, self._peer, offered(self._peer)) as assoc:
            yield _Connection(assoc, self._peer)

    @property
    def commitment(self) -> Commitment:
        """As configured."""
        return self._peer.commitment

    def commitment_scu(self, commitments: Commitments) -> CommitmentScu | None:
        """Nobody asks where it is off."""
        if self._peer.commitment == "off":
            return None
        return CommitmentScu(self._node.entity, self._name, self._peer, commitments, self._node.undelivered_s)

    def describe(self) -> Description:
        """Title, place, rights."""
        peer = self._peer
        address = f"{peer.host}:{peer.port}{', TLS' if peer.tls else ''}"
        return Description(peer.ae_title, address, ", ".join(peer.allow) or "nothing", peer.commitment)

    def audit_address(self) -> tuple[str, str] | None:
        """By its AE title and host."""
        return self._peer.ae_title, self._peer.host

    def check(self, commitments: Commitments) -> Iterator[Diagnosis]:
        """TCP, TLS, AE title, contexts, C-ECHO, storage commitment."""
        name, peer, entity = self._name, self._peer, self._node.entity
        try:
            socket.create_connection((peer.host, peer.port), entity.timeouts.connect_timeout_s).close()
        except OSError as error:
            detail = f"no TCP connection to {peer.host}:{peer.port}: {error.strerror or error}"
            yield Diagnosis(f"{name} tcp", Verdict.FAIL, detail, "is it running? check host, port and firewalls")
            return
        yield Diagnosis(
            f"{name} tcp", Verdict.PASS, f"{peer.host}:{peer.port} is open{', TLS is used' if peer.tls else ''}"
        )
        try:
            with associations.association(entity, peer, offered(peer)) as assoc:
                taken = {str(context.abstract_syntax) for context in assoc.accepted_contexts}
        except DeliveryError as error:
            yield Diagnosis(
                f"{name} association", Verdict.FAIL, str(error), "see there what it says of this node's AE title"
            )
            return
        images = [kind.uid.name for uid, kind in KINDS.items() if uid in taken]
        yield Diagnosis(f"{name} association", Verdict.PASS, f"it accepts {entity.ae_title}")
        yield Diagnosis(
            f"{name} images",
            Verdict.PASS if images else Verdict.FAIL,
            ", ".join(images) or "it takes none of the SOP classes that this node sends",
            "" if images else f"allow {sop_kinds.names()} there",
        )
        error_of_echo = _try(lambda: associations.echo(entity, peer))
        yield Diagnosis(
            f"{name} echo", Verdict.WARN if error_of_echo else Verdict.PASS, error_of_echo or "it answers C-ECHO"
        )
        if peer.commitment != "off":
            yield self._check_commitment(commitments, offered=str(SOP_CLASS) in taken)

    def _check_commitment(self, commitments: Commitments, *, offered: bool) -> Diagnosis:
        """Ask for an image that nobody has: a peer that can report will say so."""
        what, required = f"{self._name} commitment", self._peer.commitment == "required"
        bad = Verdict.FAIL if required else Verdict.WARN
        if not offered:
            remedy = "allow it there, or set commitment to optional or off"
            detail = "it does not offer storage commitment"
            return Diagnosis(what, bad if required else Verdict.PASS, detail, remedy if required else "")
        uid = str(generate_uid(prefix=None))
        commitments.probe(uid, self._name)
        nobody = CommitmentAction(uid, (Reference(sop_class_uid=next(iter(KINDS)), sop_instance_uid=uid),))

        def ask() -> None:
            with associations.association(self._node.entity, self._peer, [wire.CONTEXT]) as assoc:
                with guard.exchange(assoc, N_ACTION) as message_id:
                    answer, _ = assoc.send_n_action(
                        nobody.data_set(), REQUEST, SOP_CLASS, SOP_INSTANCE, msg_id=message_id
                    )
                if "Status" not in answer or answer.Status != SUCCESS:
                    raise PeerUnreachable(f"it refuses the request: {answer.get('Status', 'no answer')}")

        if error := _try(ask):
            return Diagnosis(what, bad, error, "see its log: is this node's AE title known there as one that may ask?")
        deadline = time.monotonic() + _REPORT_S
        while time.monotonic() < deadline:
            if commitments.is_reported(uid):
                return Diagnosis(what, Verdict.PASS, "asked, and its report arrived")
            time.sleep(0.1)
        remedy = "is the node running, and does the peer know its host and port?"
        return Diagnosis(what, bad, f"no report within {_REPORT_S:g} s", remedy)


class _Connection:
    def __init__(self, assoc: Association, peer: Peer) -> None:
        self._assoc, self._peer = assoc, peer

    @property
    def is_usable(self) -> bool:
        return bool(self._assoc.is_established)

    @property
    def offers_commitment(self) -> bool:
        return any(context.abstract_syntax == SOP_CLASS for context in self._assoc.accepted_contexts)

    def send(self, output: Output, path: Path, *, plain: bool) -> str:
        """A file in our own compression goes out plain where the peer did not accept that, or could not use it."""
        ds = header.read(path)
        if encoding.is_compressed(ds) and (plain or not c_store.accepts(self._assoc, ds)):
            encoding.make_plain(ds)
        try:
            return c_store.send(self._assoc, ds, self._peer)
        except (PeerRefused, PeerDoubts) as error:
            raise blamed(error, ds) from error


def _try(act: Callable[[], None]) -> str | None:
    """What went wrong, or None."""
    try:
        act()
    except (NodeError, RuntimeError, OSError) as error:
        return str(error)
    return None
