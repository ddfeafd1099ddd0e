"""One line of the report, and what a derived image says of its making."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydicom import Dataset

from dicom_sr_node.derive.identity import Maker
from dicom_sr_node.settings import Label

_MADE_BY = re.compile(r"AI super-resolution x(\d+) by (\S+) (\S+) \(weights sha256 ([0-9a-f]{64})\)")
_PRECISION = re.compile(r"Computed in (float32|bfloat16)\.")
_LABEL_KIND = re.compile(r"Label: (burned|overlay|none)\.")


@dataclass(frozen=True)
class Check:
    """One line of the report."""

    name: str
    passed: bool
    found: str


def maker_of(derived: Dataset) -> Maker | None:
    """What its Derivation Description says; None if this software did not write it."""
    text = str(derived.get("DerivationDescription") or "")
    made = _MADE_BY.search(text)
    if made is None or int(made[1]) < 2:
        return None
    kind, precision = _LABEL_KIND.search(text), _PRECISION.search(text)
    if kind is None or precision is None:
        return None
    label_kind: Label = kind[1]  # type: ignore[assignment]
    return Maker(
        scale=int(made[1]),
        model=made[2],
        version=made[3],
        sha256=made[4],
        label=label_kind,
        precision=precision[1],
    )


def equal(name: str, found: object, expected: object, told: str) -> Check:
    """A check that two values are the same."""
    return Check(name, found == expected, told if found == expected else f"{found}, expected {expected}")
