"""Is all well, and if not, what is to be done? The same answer for status, dashboard, health checks and alarms."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dicom_sr_node.config.settings import Settings
from dicom_sr_node.domain.image_status import ImageStatus
from dicom_sr_node.domain.records import Problem
from dicom_sr_node.network import certificates
from dicom_sr_node.spool import is_full
from dicom_sr_node.store.database import Store
from dicom_sr_node.store.processes import ALIVE_S

ESSENTIAL = ("receive", "work", "deliver")
_LONG_WAIT_S = 1800.0
_MANY_FAILURES = 3  # in a row, before a destination that is away is a problem: one try may always fail
_HOUR_S = 3600.0


@dataclass(frozen=True)
class Health:
    """All that is wrong now, and what was looked at."""

    problems: tuple[Problem, ...]
    counts: Mapping[ImageStatus, int]  # of images
    seen: Mapping[str, float]  # AE title -> seconds since its last image
    processes: Sequence[Mapping[str, Any]]  # of the processes

    @property
    def summary(self) -> str:
        """One line in words."""
        if not self.problems:
            return "All is well."
        first, more = self.problems[0], len(self.problems) - 1
        return f"{first.text}: {first.remedy}{f' (and {more} more)' if more else ''}"


def examine(settings: Settings, store: Store) -> Health:
    """As it is now; the worst first. Raises SQLAlchemyError where the database does not answer."""
    counts, seen, processes = store.search.counts(), store.search.last_seen(), store.processes.ls()
    problems = (
        *_disk(settings),
        *_roles(processes),
        *_dead(counts[ImageStatus.DEAD]),
        *_superseded(store),
        *_destinations(settings, store),
        *_queue(store),
        *_silent(settings, seen),
        *_certificates(settings),
    )
    return Health(problems, counts, seen, processes)


def _disk(settings: Settings) -> Iterator[Problem]:
    try:
        full = is_full(settings.node.spool, settings.disk.reserve_mb)
    except OSError as error:
        full = f"{settings.node.spool} cannot be used: {error.strerror}"
    barred = [name for name in ("in", "outbox", "tmp") if _is_barred(settings.node.spool / name)]
    if barred:
        text = f"{', '.join(barred)} in {settings.node.spool} cannot be written by the node's user"
        yield Problem("disk", "rights", text, "give them back: chown -R to the node's user")
    if full:
        remedy = "nothing more is taken until there is room: free space or shorten [retention]"
        yield Problem("disk", "spool", full, remedy)


def _is_barred(folder: Path) -> bool:
    return folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK)


def _roles(processes: Iterable[Mapping[str, Any]]) -> Iterator[Problem]:
    alive = {slot["name"].partition("/")[2].partition("-")[0] for slot in processes if slot["seen_s_ago"] < ALIVE_S}
    for role in ESSENTIAL:
        if role not in alive:
            yield Problem("role", role, f"no {role} role is running", "start `srnode serve` and look into its log")


def _dead(dead: int) -> Iterator[Problem]:
    if dead:
        what = "1 image is dead" if dead == 1 else f"{dead} images are dead"
        yield Problem("dead", "images", what, "see why under Images, mend the cause, and retry them")


def _superseded(store: Store) -> Iterator[Problem]:
    for row in store.outputs.superseded():
        text = (
            f"an archive has a result of image {row.instance_id} that names another patient, study or accession than "
            f"image {row.newer_id}, which is the same one"
        )
        remedy = f"`srnode jobs reject {row.job_id}` sends a rejection note, with --dismiss none"
        yield Problem("superseded", f"image {row.instance_id}", text, remedy)


def _destinations(settings: Settings, store: Store) -> Iterator[Problem]:
    for name, fares in store.destinations.ls().items():
        if fares["failures"] >= _MANY_FAILURES and name in settings.destinations:
            text = f"{name} has not taken anything at {fares['failures']} tries"
            yield Problem("destination", name, text, f"try it under Peers or with `srnode doctor`, peer {name}")


def _queue(store: Store) -> Iterator[Problem]:
    waited_s = store.search.oldest_waiting_s()
    if waited_s > _LONG_WAIT_S:
        text = f"an image has waited for {waited_s / 60:.0f} minutes"
        yield Problem("queue", "images", text, "start more `srnode work`, or a faster device")


def _silent(settings: Settings, last_seen: Mapping[str, float]) -> Iterator[Problem]:
    for name, peer in settings.peers.items():
        silent_s = last_seen.get(peer.ae_title)
        if silent_s is None or peer.silent_after_h is None:
            continue
        if silent_s > peer.silent_after_h * _HOUR_S:
            text = f"nothing has come from {name} for {silent_s / _HOUR_S:.0f} hours"
            yield Problem("silent", name, text, "is it switched on, and does it still know this node?")


def _certificates(settings: Settings) -> Iterator[Problem]:
    for problem in certificates.examine(settings, datetime.now(UTC)):
        yield Problem("certificate", problem.key, problem.text, problem.remedy)
