"""Pure: a header and the rules -> what to do with an image."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom import Dataset

from dicom_sr_node.pixels.header import first
from dicom_sr_node.records import FOLDER
from dicom_sr_node.settings import Match, Rule

EVERYTHING = Rule(name="default")  # without any rule, each radiograph is upscaled and kept in data_dir/out


def rule_for(header: Dataset, rules: Sequence[Rule]) -> Rule | None:
    """The first rule that takes an image; None where there are rules and none does."""
    return next((rule for rule in rules or (EVERYTHING,) if _accepts(rule.match, header)), None)


def destinations(rule: Rule) -> tuple[str, ...]:
    """Where the results of a rule go."""
    return rule.send_to or (FOLDER,)


def _accepts(match: Match, header: Dataset) -> bool:
    return not match.modality or first(header, "Modality") in match.modality
