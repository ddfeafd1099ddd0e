"""`srnode doctor`: tries everything that a node needs, and says what to change."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial

from sqlalchemy.exc import SQLAlchemyError

from dicom_sr_node.config.destinations import Peer
from dicom_sr_node.config.settings import Settings
from dicom_sr_node.deliver.destinations.table import destinations, local_entity
from dicom_sr_node.domain.diagnosis import Diagnosis, Verdict
from dicom_sr_node.domain.errors import NodeError
from dicom_sr_node.monitor.doubts import hints
from dicom_sr_node.network import associations, certificates, tls
from dicom_sr_node.spool import Spool
from dicom_sr_node.store import engine as database
from dicom_sr_node.store.database import Store
from dicom_sr_node.work.registry import registry_for

_SLOW_SYNC_S = 0.25
_CLOCK_S = 2.0


def examine(settings: Settings, store: Store, spool: Spool) -> Iterator[Diagnosis]:
    """All checks, one after the other; none of them changes what the node has."""
    yield from _disk(settings, spool)
    yield _database(store)
    yield _clock(store)
    yield from _certificates(settings)
    yield from _ports(settings)
    yield from _dashboard(settings)
    yield from (Diagnosis("configuration", Verdict.WARN, line, "see `srnode config check`") for line in hints(settings))
    yield _model(settings, store)
    for way in destinations(settings).values():
        yield from way.check(store.commitments)


def _disk(settings: Settings, spool: Spool) -> Iterator[Diagnosis]:
    started = time.monotonic()
    try:
        stored = spool.keep("outbox", [os.urandom(1 << 20)])
        spool.discard("outbox", stored.name)
    except OSError as error:
        detail = f"nothing can be written below {spool.root}: {error.strerror}"
        yield Diagnosis("disk", Verdict.FAIL, detail, "check the rights and the state of this disk")
        return
    took_s = time.monotonic() - started
    detail = f"1 MiB written and synced below {spool.root} in {took_s * 1000:.0f} ms"
    slow = took_s > _SLOW_SYNC_S
    yield Diagnosis(
        "disk", Verdict.WARN if slow else Verdict.PASS, detail, "use a faster disk for the spool" if slow else ""
    )
    full = spool.is_full(settings.disk.reserve_mb)
    kind = database.filesystem_of(spool.root)
    yield Diagnosis(
        "space", Verdict.FAIL if full else Verdict.PASS, full or f"enough ({kind})", "make room" if full else ""
    )
    open_to_all = spool.root.stat().st_mode & 0o077
    detail = "only this user can read it" if not open_to_all else f"{spool.root} is open to other users"
    yield Diagnosis(
        "privacy", Verdict.WARN if open_to_all else Verdict.PASS, detail, "chmod 700" if open_to_all else ""
    )


def _database(store: Store) -> Diagnosis:
    try:
        has, wants = database.revision(store.engine)
    except SQLAlchemyError as error:
        return Diagnosis("database", Verdict.FAIL, f"no answer: {type(error).__name__}", "start it, check database.url")
    if has != wants:
        return Diagnosis(
            "database", Verdict.FAIL, f"schema {has or 'none'}, this version has {wants}", "srnode db upgrade"
        )
    if unsafe := database.unsafe_server(store.engine):
        return Diagnosis(
            "database", Verdict.FAIL, unsafe, "set it to on: without it a power cut loses acknowledged images"
        )
    return Diagnosis("database", Verdict.PASS, f"{store.engine.dialect.name}, schema {has}")


def _clock(store: Store) -> Diagnosis:
    try:
        apart_s = abs(store.processes.now() - time.time())
    except SQLAlchemyError:
        return Diagnosis("clock", Verdict.WARN, "the database does not answer")
    detail = f"{apart_s:.1f} s apart from the database's"
    bad = apart_s > _CLOCK_S
    return Diagnosis(
        "clock", Verdict.WARN if bad else Verdict.PASS, detail, "set up NTP on both machines" if bad else ""
    )


def _ports(settings: Settings) -> Iterator[Diagnosis]:
    scp = settings.scp
    ports = [("scp.port", scp.port)] if scp.plain else []
    if settings.tls.certificate:
        ports.append(("tls.port", settings.tls.port))
    for key, port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((scp.host, port))
                yield Diagnosis("port", Verdict.PASS, f"{scp.host}:{port} is free")
                continue
            except OSError as error:
                detail = f"{scp.host}:{port}: {error.strerror}"
        itself = Peer(ae_title=settings.node.ae_title, host=scp.host, port=port)
        if key == "scp.port" and _try(partial(associations.echo, local_entity(settings), itself)) is None:
            yield Diagnosis("port", Verdict.PASS, f"this node answers on {scp.host}:{port}")
        else:
            yield Diagnosis("port", Verdict.WARN, detail, f"if this is not the node itself, change {key} or scp.host")


def _certificates(settings: Settings) -> Iterator[Diagnosis]:
    bad = False
    for problem in certificates.examine(settings, datetime.now(UTC)):
        bad = bad or problem.is_fatal
        verdict = Verdict.FAIL if problem.is_fatal else Verdict.WARN
        yield Diagnosis("certificate", verdict, f"{problem.key}: {problem.text}", problem.remedy)
    if bad or not settings.tls.certificate:
        return
    try:
        tls.for_server(settings.tls)
        yield Diagnosis("certificate", Verdict.PASS, f"{settings.tls.certificate} and its key fit")
    except NodeError as error:
        yield Diagnosis("certificate", Verdict.FAIL, str(error), "check the files named in [tls]")


def _dashboard(settings: Settings) -> Iterator[Diagnosis]:
    web = settings.web
    if web.enabled and not web.certificate and web.host not in ("127.0.0.1", "::1", "localhost"):
        detail = f"{web.host}:{web.port} is reached from elsewhere in the clear: passwords can be read on the way"
        yield Diagnosis(
            "dashboard", Verdict.WARN, detail, "set web.certificate and web.private_key, or a proxy with https"
        )


def _model(settings: Settings, store: Store) -> Diagnosis:
    name = store.deployments.now().active or settings.model.name
    try:
        registry = registry_for(settings.node, settings.model)
        upscaler = registry.load(name, settings.model.device, settings.model.precision)
    except NodeError as error:
        return Diagnosis("model", Verdict.FAIL, str(error), "see `srnode models ls`; model.name, model.device")
    detail = f"{upscaler.card.identity} on {upscaler.device} in {upscaler.recipe}, its hash is right"
    if upscaler.card.unproven:
        return Diagnosis(
            "model", Verdict.WARN, f"{detail}; unproven: {upscaler.card.unproven}", "see `srnode models qa`"
        )
    return Diagnosis("model", Verdict.PASS, f"{detail}, and it passed the physics suite")


def _try(act: Callable[[], None]) -> str | None:
    """What went wrong, or None."""
    try:
        act()
    except (NodeError, RuntimeError, OSError) as error:
        return str(error)
    return None
