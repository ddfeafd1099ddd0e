"""One line of the report, and what a derived image says of its making."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydicom import Dataset

from dicom_sr_node.config.types import Label
from dicom_sr_node.derive.identity import Algorithm

_MADE_BY = re.compile(r"AI super-resolution x(\d+) by (\S+) (\S+) \(weights sha256 ([0-9a-f]{64})\)")
_RECIPE = re.compile(r"Computed in ([\w+-]+(?: [\w+-]+)?)\.")
_LABEL_KIND = re.compile(r"Label: (burned|overlay|none)\.")


@dataclass(frozen=True)
class Verification:
    """One line of the report."""

    name: str
    passed: bool
    found: str


def algorithm_of(derived: Dataset) -> Algorithm | None:
    """What its Derivation Description says; None if this software did not write it."""
    text = str(derived.get("DerivationDescription") or "")
    match = _MADE_BY.search(text)
    if match is None or int(match[1]) < 2:
        return None
    kind, recipe = _LABEL_KIND.search(text), _RECIPE.search(text)
    if kind is None or recipe is None:
        return None
    label_kind: Label = kind[1]  # type: ignore[assignment]
    return Algorithm(
        scale=int(match[1]),
        model=match[2],
        version=match[3],
        sha256=match[4],
        label=label_kind,
        recipe=recipe[1],
    )


def equal(name: str, actual: object, expected: object, detail: str) -> Verification:
    """A check that two values are the same."""
    return Verification(name, actual == expected, detail if actual == expected else f"{actual}, expected {expected}")
