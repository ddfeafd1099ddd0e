"""`srnode doctor`: tries everything that a node needs, and says what to change."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from pydicom.uid import generate_uid
from sqlalchemy.exc import SQLAlchemyError

from dicom_sr_node.app import Store
from dicom_sr_node.deliver import dimse
from dicom_sr_node.errors import DeliveryError, NodeError, NotFound, PeerUnreachable
from dicom_sr_node.network import tls
from dicom_sr_node.network.commitment import REQUEST, SOP_CLASS, SOP_INSTANCE, Request
from dicom_sr_node.network.status import SUCCESS
from dicom_sr_node.pixels.gate import RADIOGRAPHS
from dicom_sr_node.records import Reference
from dicom_sr_node.settings import Dicomweb, Peer, Settings
from dicom_sr_node.spool import Spool
from dicom_sr_node.store import engine as database

_SLOW_SYNC_S = 0.25
_CLOCK_S = 2.0
_REPORT_S = 10.0


class Verdict(StrEnum):
    """Of one check."""

    PASS = "PASS"  # noqa: S105 - no password
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Check:
    """What was tried, how it went, and what to change."""

    name: str
    verdict: Verdict
    found: str
    remedy: str = ""


def examine(settings: Settings, store: Store, spool: Spool) -> Iterator[Check]:
    """All checks, one after the other; none of them changes what the node has."""
    yield from _disk(settings, spool)
    yield _database(store)
    yield _clock(store)
    yield from _ports(settings)
    yield from _dashboard(settings)
    yield _model(settings, store)
    for name in (*settings.peers, *settings.dicomweb):
        yield from examine_destination(settings, store, name)


def examine_destination(settings: Settings, store: Store, name: str) -> Iterator[Check]:
    """Of a peer or a DICOMweb archive. Raises NotFound."""
    if name in settings.peers:
        yield from _peer(settings, store, name, settings.peers[name])
    elif name in settings.dicomweb:
        yield _dicomweb(settings, name, settings.dicomweb[name])
    else:
        raise NotFound(f"no peer {name!r} in the configuration")


def _dicomweb(settings: Settings, name: str, place: Dicomweb) -> Check:
    """Whether an archive answers, and lets us in."""
    from dicom_sr_node.deliver import stow

    if error := _try(partial(stow.reach, settings, place)):
        return Check(f"{name} dicomweb", Verdict.FAIL, error, "check its url, its token and its certificate")
    return Check(f"{name} dicomweb", Verdict.PASS, f"{place.url} answers")


def _disk(settings: Settings, spool: Spool) -> Iterator[Check]:
    started = time.monotonic()
    try:
        stored = spool.keep("outbox", [os.urandom(1 << 20)])
        spool.discard("outbox", stored.name)
    except OSError as error:
        told = f"nothing can be written below {spool.root}: {error.strerror}"
        yield Check("disk", Verdict.FAIL, told, "check the rights and the state of this disk")
        return
    took_s = time.monotonic() - started
    told = f"1 MiB written and synced below {spool.root} in {took_s * 1000:.0f} ms"
    slow = took_s > _SLOW_SYNC_S
    yield Check("disk", Verdict.WARN if slow else Verdict.PASS, told, "use a faster disk for the spool" if slow else "")
    full = spool.is_full(settings.disk.reserve_mb)
    kind = database.filesystem_of(spool.root)
    yield Check(
        "space", Verdict.FAIL if full else Verdict.PASS, full or f"enough ({kind})", "make room" if full else ""
    )
    open_to_all = spool.root.stat().st_mode & 0o077
    told = "only this user can read it" if not open_to_all else f"{spool.root} is open to other users"
    yield Check("privacy", Verdict.WARN if open_to_all else Verdict.PASS, told, "chmod 700" if open_to_all else "")


def _database(store: Store) -> Check:
    try:
        has, wants = database.revision(store.engine)
    except SQLAlchemyError as error:
        return Check("database", Verdict.FAIL, f"no answer: {type(error).__name__}", "start it, check database.url")
    if has != wants:
        return Check("database", Verdict.FAIL, f"schema {has or 'none'}, this version has {wants}", "srnode db upgrade")
    if unsafe := database.unsafe_server(store.engine):
        return Check("database", Verdict.FAIL, unsafe, "set it to on: without it a power cut loses acknowledged images")
    return Check("database", Verdict.PASS, f"{store.engine.dialect.name}, schema {has}")


def _clock(store: Store) -> Check:
    try:
        apart_s = abs(store.slots.now() - time.time())
    except SQLAlchemyError:
        return Check("clock", Verdict.WARN, "the database does not answer")
    told = f"{apart_s:.1f} s apart from the database's"
    bad = apart_s > _CLOCK_S
    return Check("clock", Verdict.WARN if bad else Verdict.PASS, told, "set up NTP on both machines" if bad else "")


def _ports(settings: Settings) -> Iterator[Check]:
    scp = settings.scp
    ports = [("scp.port", scp.port)] if scp.plain else []
    if settings.tls.certificate:
        ports.append(("tls.port", settings.tls.port))
        try:
            tls.for_server(settings.tls)
            yield Check("certificate", Verdict.PASS, f"{settings.tls.certificate} and its key fit")
        except NodeError as error:
            yield Check("certificate", Verdict.FAIL, str(error), "check the files named in [tls]")
    for key, port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((scp.host, port))
                yield Check("port", Verdict.PASS, f"{scp.host}:{port} is free")
                continue
            except OSError as error:
                told = f"{scp.host}:{port}: {error.strerror}"
        itself = Peer(ae_title=settings.node.ae_title, host=scp.host, port=port)
        if key == "scp.port" and _try(partial(dimse.echo, settings, itself)) is None:
            yield Check("port", Verdict.PASS, f"this node answers on {scp.host}:{port}")
        else:
            yield Check("port", Verdict.WARN, told, f"if this is not the node itself, change {key} or scp.host")


def _dashboard(settings: Settings) -> Iterator[Check]:
    web = settings.web
    if web.enabled and not web.certificate and web.host not in ("127.0.0.1", "::1", "localhost"):
        told = f"{web.host}:{web.port} is reached from elsewhere in the clear: passwords can be read on the way"
        yield Check("dashboard", Verdict.WARN, told, "set web.certificate and web.private_key, or a proxy with https")


def _model(settings: Settings, store: Store) -> Check:
    from dicom_sr_node.models import Shelf

    name = store.service.now().active or settings.model.name
    try:
        shelf = Shelf(settings.node.spool, unproven=settings.model.unproven)
        upscaler = shelf.load(name, settings.model.device, settings.model.precision)
    except NodeError as error:
        return Check("model", Verdict.FAIL, str(error), "see `srnode models ls`; model.name, model.device")
    told = f"{upscaler.card.identity} on {upscaler.device} in {upscaler.precision}, its hash is right"
    if upscaler.card.unproven:
        return Check("model", Verdict.WARN, f"{told}; unproven: {upscaler.card.unproven}", "see `srnode models qa`")
    return Check("model", Verdict.PASS, f"{told}, and it passed the physics suite")


def _peer(settings: Settings, store: Store, name: str, peer: Peer) -> Iterator[Check]:
    """TCP, TLS, AE title, contexts, C-ECHO, storage commitment: the first that fails explains the rest."""
    try:
        socket.create_connection((peer.host, peer.port), settings.delivery.connect_timeout_s).close()
    except OSError as error:
        told = f"no TCP connection to {peer.host}:{peer.port}: {error.strerror or error}"
        yield Check(f"{name} tcp", Verdict.FAIL, told, "is it running? check host, port and firewalls")
        return
    yield Check(f"{name} tcp", Verdict.PASS, f"{peer.host}:{peer.port} is open{', TLS is used' if peer.tls else ''}")
    try:
        with dimse.association(settings, peer, dimse.offered(peer)) as assoc:
            taken = {str(context.abstract_syntax) for context in assoc.accepted_contexts}
    except DeliveryError as error:
        yield Check(f"{name} association", Verdict.FAIL, str(error), "see there what it says of this node's AE title")
        return
    images = [uid.name for uid in RADIOGRAPHS if str(uid) in taken]
    yield Check(f"{name} association", Verdict.PASS, f"it accepts {settings.node.ae_title}")
    yield Check(
        f"{name} images",
        Verdict.PASS if images else Verdict.FAIL,
        ", ".join(images) or "it takes none of the SOP classes that this node sends",
        "" if images else "allow CR, DX or MG images for presentation there",
    )
    error_of_echo = _try(lambda: dimse.echo(settings, peer))
    yield Check(f"{name} echo", Verdict.WARN if error_of_echo else Verdict.PASS, error_of_echo or "it answers C-ECHO")
    if peer.commitment != "off":
        yield _commitment(settings, store, name, peer, offered=str(SOP_CLASS) in taken)


def _commitment(settings: Settings, store: Store, name: str, peer: Peer, *, offered: bool) -> Check:
    """Ask for an image that nobody has: a peer that can report will say so."""
    what, required = f"{name} commitment", peer.commitment == "required"
    bad = Verdict.FAIL if required else Verdict.WARN
    if not offered:
        remedy = "allow it there, or set commitment to optional or off"
        told = "it does not offer storage commitment"
        return Check(what, bad if required else Verdict.PASS, told, remedy if required else "")
    uid = str(generate_uid(prefix=None))
    store.commitments.probe(uid, name)
    nobody = Request(uid, (Reference(sop_class_uid=str(RADIOGRAPHS[0]), sop_instance_uid=uid),))

    def ask() -> None:
        with dimse.association(settings, peer, [dimse.COMMITMENT]) as assoc:
            answer, _ = assoc.send_n_action(nobody.data_set(), REQUEST, SOP_CLASS, SOP_INSTANCE)
            if "Status" not in answer or answer.Status != SUCCESS:
                raise PeerUnreachable(f"it refuses the request: {answer.get('Status', 'no answer')}")

    if error := _try(ask):
        return Check(what, bad, error, "see its log: is this node's AE title known there as one that may ask?")
    deadline = time.monotonic() + _REPORT_S
    while time.monotonic() < deadline:
        if store.commitments.is_reported(uid):
            return Check(what, Verdict.PASS, "asked, and its report arrived")
        time.sleep(0.1)
    remedy = "is the node running, and does the peer know its host and port?"
    return Check(what, bad, f"no report within {_REPORT_S:g} s", remedy)


def _try(act: Callable[[], None]) -> str | None:
    """What went wrong, or None."""
    try:
        act()
    except (NodeError, RuntimeError, OSError) as error:
        return str(error)
    return None
