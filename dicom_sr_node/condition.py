"""Is all well, and if not, what is to be done? The same answer for status, dashboard, health checks and alarms."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dicom_sr_node.records import Trouble
from dicom_sr_node.settings import Settings
from dicom_sr_node.spool import is_full
from dicom_sr_node.store.search import Fate
from dicom_sr_node.store.slots import ALIVE_S

if TYPE_CHECKING:
    from dicom_sr_node.app import Store

ESSENTIAL = ("receive", "work", "deliver")
_LONG_WAIT_S = 1800.0
_MANY_FAILURES = 3  # in a row, before a destination that is away is a trouble: one try may always fail
_HOUR_S = 3600.0


@dataclass(frozen=True)
class Condition:
    """All that is wrong now, and what was looked at."""

    troubles: tuple[Trouble, ...]
    counts: Mapping[Fate, int]  # of images
    seen: Mapping[str, float]  # AE title -> seconds since its last image
    slots: Sequence[Mapping[str, Any]]  # of the processes

    @property
    def told(self) -> str:
        """One line in words."""
        if not self.troubles:
            return "All is well."
        first, more = self.troubles[0], len(self.troubles) - 1
        return f"{first.text}: {first.remedy}{f' (and {more} more)' if more else ''}"


def look(settings: Settings, store: Store) -> Condition:
    """As it is now; the worst first. Raises SQLAlchemyError where the database does not answer."""
    counts, seen, slots = store.search.counts(), store.search.last_seen(), store.slots.ls()
    troubles = (
        *_disk(settings),
        *_roles(slots),
        *_dead(counts[Fate.DEAD]),
        *_destinations(settings, store),
        *_queue(store),
        *_silent(settings, seen),
    )
    return Condition(troubles, counts, seen, slots)


def _disk(settings: Settings) -> Iterator[Trouble]:
    try:
        full = is_full(settings.node.spool, settings.disk.reserve_mb)
    except OSError as error:
        full = f"{settings.node.spool} cannot be used: {error.strerror}"
    barred = [name for name in ("in", "outbox", "tmp") if _is_barred(settings.node.spool / name)]
    if barred:
        text = f"{', '.join(barred)} in {settings.node.spool} cannot be written by the node's user"
        yield Trouble("disk", "rights", text, "give them back: chown -R to the node's user")
    if full:
        remedy = "nothing more is taken until there is room: free space or shorten [retention]"
        yield Trouble("disk", "spool", full, remedy)


def _is_barred(folder: Path) -> bool:
    return folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK)


def _roles(slots: Iterable[Mapping[str, Any]]) -> Iterator[Trouble]:
    alive = {slot["name"].partition("/")[2].partition("-")[0] for slot in slots if slot["seen_s_ago"] < ALIVE_S}
    for role in ESSENTIAL:
        if role not in alive:
            yield Trouble("role", role, f"no {role} role is running", "start `srnode serve` and look into its log")


def _dead(dead: int) -> Iterator[Trouble]:
    if dead:
        what = "1 image is dead" if dead == 1 else f"{dead} images are dead"
        yield Trouble("dead", "images", what, "see why under Images, mend the cause, and retry them")


def _destinations(settings: Settings, store: Store) -> Iterator[Trouble]:
    for name, fares in store.destinations.ls().items():
        if fares["failures"] >= _MANY_FAILURES and name in settings.destinations:
            text = f"{name} has not taken anything at {fares['failures']} tries"
            yield Trouble("destination", name, text, f"try it under Peers or with `srnode doctor`, peer {name}")


def _queue(store: Store) -> Iterator[Trouble]:
    waited_s = store.search.oldest_waiting_s()
    if waited_s > _LONG_WAIT_S:
        text = f"an image has waited for {waited_s / 60:.0f} minutes"
        yield Trouble("queue", "images", text, "start more `srnode work`, or a faster device")


def _silent(settings: Settings, last_seen: Mapping[str, float]) -> Iterator[Trouble]:
    for name, peer in settings.peers.items():
        silent_s = last_seen.get(peer.ae_title)
        if silent_s is None or peer.silent_after_h is None:
            continue
        if silent_s > peer.silent_after_h * _HOUR_S:
            text = f"nothing has come from {name} for {silent_s / _HOUR_S:.0f} hours"
            yield Trouble("silent", name, text, "is it switched on, and does it still know this node?")
