"""Pure: a header and the rules -> what to do with an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from fnmatch import fnmatchcase
from typing import Literal

from pydicom import Dataset

from dicom_sr_node.config.rules import Match, Rule
from dicom_sr_node.config.types import Label, Scale
from dicom_sr_node.config.working import ModelSettings
from dicom_sr_node.dicom.header import first
from dicom_sr_node.domain.records import FOLDER, Origin, Priority, Route

EVERYTHING = Rule(name="default")  # without any rule, each radiograph is upscaled and kept in data_dir/out
SELFTEST = Rule(name="self-test")  # a phantom that the node sends itself: to the folder, whatever the rules say
SELFTEST_AE, SELFTEST_ID = "SRNODE_SELFTEST", "SRNODE-SELFTEST"  # calling AE title and Patient ID, both
IN_SERVICE = ""  # the name of whichever model is in service

_TEXTS = {
    "modality": "Modality",
    "body_part": "BodyPartExamined",
    "view": "ViewPosition",
    "station": "StationName",
}


@dataclass(frozen=True)
class OutputSpec:
    """What is made of an image for some destinations."""

    model: str
    scale: int | Literal["auto"]
    label: Label
    destinations: tuple[str, ...]


def in_order(rules: Sequence[Rule]) -> list[Rule]:
    """As they are asked: as they stand in the configuration, the fallback last."""
    return sorted(rules or (EVERYTHING,), key=lambda rule: rule.fallback)


def rule_for(header: Dataset, rules: Sequence[Rule], origin: Origin) -> Rule | None:
    """The first rule that takes an image; None where there are rules and none does."""
    if origin.calling_ae == SELFTEST_AE and first(header, "PatientID") == SELFTEST_ID:
        return SELFTEST
    return next((rule for rule in in_order(rules) if not misses(rule.match, header, origin)), None)


def misses(match: Match, header: Dataset, origin: Origin) -> list[str]:
    """Each condition that an image does not meet, in words; none if it meets all.

    What the header does not have yet (the size, while an image is received) is no reason against it.
    """
    return list(_misses(match, header, origin))


def _misses(match: Match, header: Dataset, origin: Origin) -> Iterator[str]:
    for key, keyword in _TEXTS.items():
        allowed, value = getattr(match, key), first(header, keyword).strip()
        if allowed and not any(fnmatchcase(value.upper(), pattern.upper()) for pattern in allowed):
            yield _mismatch(key, value, allowed)
    for key in ("calling_ae", "called_ae"):
        allowed, value = getattr(match, key), getattr(origin, key)
        if allowed and value not in allowed:
            yield _mismatch(key, value, allowed)
    rows, columns = header.get("Rows"), header.get("Columns")
    if isinstance(rows, int) and isinstance(columns, int):
        megapixels = rows * columns / 1e6
        if megapixels < match.min_megapixels:
            yield f"size is {megapixels:.2f} megapixels, not at least {match.min_megapixels:g}"
        if match.max_megapixels is not None and megapixels > match.max_megapixels:
            yield f"size is {megapixels:.2f} megapixels, not at most {match.max_megapixels:g}"


def why_none(header: Dataset, rules: Sequence[Rule], origin: Origin) -> str:
    """What keeps each rule from taking an image that none takes."""
    return "; ".join(f"{rule.name}: {', '.join(misses(rule.match, header, origin))}" for rule in in_order(rules))


def _mismatch(key: str, value: str, allowed: Sequence[str]) -> str:
    return f"{key} is {value or 'not given'}, not {' or '.join(allowed)}"


def output_specs(rule: Rule, model: ModelSettings, label: Label) -> tuple[OutputSpec, ...]:
    """What a rule asks for: destinations that get the same thing share it.

    model, label: the node's own, for what neither the destination nor the rule says. Without a destination the result
    goes to the folder.
    """
    peers_of: dict[tuple[str, Scale, Label], list[str]] = {}
    own = (rule.model or IN_SERVICE, rule.scale or model.scale, rule.label or label)
    for to in rule.send_to:
        key = (to.model or own[0], to.scale or own[1], to.label or own[2])
        peers_of.setdefault(key, []).append(to.peer)
    return tuple(OutputSpec(*key, tuple(names)) for key, names in (peers_of or {own: [FOLDER]}).items())


def route(header: Dataset, rules: Sequence[Rule], origin: Origin, off_peak: str, now: datetime) -> Route:
    """What the rules say to an image of an origin; now: local time."""
    rule = rule_for(header, rules, origin)
    if rule is None:
        return Route()
    priority, delay_s = urgency(rule, off_peak, now)
    destinations = tuple(to.peer for to in rule.send_to) or (FOLDER,)
    return Route(destinations=destinations, priority=priority, delay_s=delay_s)


def urgency(rule: Rule | None, off_peak: str, now: datetime) -> tuple[Priority, float]:
    """How urgent an image is, and how many seconds its job waits at least; now: local time."""
    if rule is None:
        return Priority.ROUTINE, 0.0
    priority, window = Priority[rule.priority.upper()], rule.off_peak or off_peak
    return priority, _seconds_until(window, now) if priority is Priority.BACKFILL and window else 0.0


def _seconds_until(window: str, now: datetime) -> float:
    """Until a window "HH:MM-HH:MM" opens, which may reach over midnight; 0 within it."""
    opens, closes = (time.fromisoformat(part) for part in window.split("-"))
    at = now.time()
    within = opens <= at < closes if opens <= closes else at >= opens or at < closes
    if within:
        return 0.0
    opening = datetime.combine(now.date(), opens, now.tzinfo)
    return (opening - now).total_seconds() % timedelta(days=1).total_seconds()
