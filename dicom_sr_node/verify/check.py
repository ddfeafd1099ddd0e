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
    made = _MADE_BY.search(text)
    if made is None or int(made[1]) < 2:
        return None
    kind, recipe = _LABEL_KIND.search(text), _RECIPE.search(text)
    if kind is None or recipe is None:
        return None
    label_kind: Label = kind[1]  # type: ignore[assignment]
    return Algorithm(
        scale=int(made[1]),
        model=made[2],
        version=made[3],
        sha256=made[4],
        label=label_kind,
        recipe=recipe[1],
    )


def equal(name: str, found: object, expected: object, told: str) -> Verification:
    """A check that two values are the same."""
    return Verification(name, found == expected, told if found == expected else f"{found}, expected {expected}")
