"""Pure: a header and the rules -> what to do with an image."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time, timedelta

from pydicom import Dataset

from dicom_sr_node.pixels.header import first
from dicom_sr_node.records import FOLDER, Priority
from dicom_sr_node.settings import Match, Rule

EVERYTHING = Rule(name="default")  # without any rule, each radiograph is upscaled and kept in data_dir/out


def rule_for(header: Dataset, rules: Sequence[Rule]) -> Rule | None:
    """The first rule that takes an image; None where there are rules and none does."""
    return next((rule for rule in rules or (EVERYTHING,) if _accepts(rule.match, header)), None)


def urgency(rule: Rule | None, off_peak: str, now: datetime) -> tuple[Priority, float]:
    """How urgent an image is, and how many seconds its job waits at least; now: local time."""
    priority = Priority[(rule.priority if rule else "routine").upper()]
    return priority, _seconds_until(off_peak, now) if priority is Priority.BACKFILL and off_peak else 0.0


def _seconds_until(window: str, now: datetime) -> float:
    """Until a window "HH:MM-HH:MM" opens, which may reach over midnight; 0 within it."""
    opens, closes = (time.fromisoformat(part) for part in window.split("-"))
    at = now.time()
    within = opens <= at < closes if opens <= closes else at >= opens or at < closes
    if within:
        return 0.0
    opening = datetime.combine(now.date(), opens, now.tzinfo)
    return (opening - now).total_seconds() % timedelta(days=1).total_seconds()


def destinations(rule: Rule) -> tuple[str, ...]:
    """Where the results of a rule go."""
    return rule.send_to or (FOLDER,)


def _accepts(match: Match, header: Dataset) -> bool:
    return not match.modality or first(header, "Modality") in match.modality
