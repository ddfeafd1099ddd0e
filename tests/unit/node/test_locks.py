"""The lock files and the bill of materials are those of pyproject.toml: `make lock` and `make sbom` made them anew."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from support.tools import ROOT, run

LOCKS = ROOT / "config" / "requirements"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NOT_LOCKED = {"torch"}  # comes as another build on each kind of machine
SETS = {
    "run": (),
    "postgresql": ("postgresql",),
    "train": ("train",),
    "dev": ("postgresql", "train", "dev"),
}


def wanted(extras: tuple[str, ...]) -> dict[str, Requirement]:
    """What pyproject.toml asks for, by name."""
    texts = [*PROJECT["dependencies"], *(text for extra in extras for text in PROJECT["optional-dependencies"][extra])]
    requirements = {Requirement(text).name.lower(): Requirement(text) for text in texts}
    return {name: one for name, one in requirements.items() if name not in {"dicom-sr-node", *NOT_LOCKED}}


def locked(name: str) -> dict[str, str]:
    """Name -> version."""
    pins = re.findall(r"^([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==(\S+)", (LOCKS / f"{name}.txt").read_text(), re.MULTILINE)
    return {package.lower().replace("_", "-"): pin for package, pin in pins}


@pytest.mark.parametrize(("name", "extras"), SETS.items())
def test_a_lock_pins_what_is_asked_for_each_file_by_its_hash(name: str, extras: tuple[str, ...]) -> None:
    text, pins = (LOCKS / f"{name}.txt").read_text(encoding="utf-8"), locked(name)
    for package, requirement in wanted(extras).items():
        assert requirement.specifier.contains(pins[package]), f"{requirement} is locked at {pins[package]}: make lock"
    asked = re.findall(
        r"^([a-z0-9_.-]+)(?:\[[^\]]*\])?==[^#]*?# via\n?(?:    #   )? ?dicom-sr-node", text, re.MULTILINE
    )
    assert {package.replace("_", "-") for package in asked} <= set(wanted(extras)), "no longer asked for: make lock"
    assert not re.search(r"://|@ ", text), "an address or a path of a machine"
    entries = re.split(r"^(?=[A-Za-z0-9_.-]+(?:\[[^\]]*\])?==)", text, flags=re.MULTILINE)[1:]
    assert len(entries) == len(pins)
    assert all("--hash=sha256:" in entry for entry in entries)


def test_what_is_installed_is_what_is_locked() -> None:
    different = {name: pin for name, pin in locked("dev").items() if version(name) != pin}
    assert different == {}, "rm -r .venv; make"


def test_the_bill_of_materials_is_that_of_the_lock(tmp_path: Path) -> None:
    run("make", "-s", "-C", ROOT, "sbom", f"SBOM={tmp_path}/sbom.json")
    kept = (ROOT / "docs" / "sbom.cdx.json").read_text(encoding="utf-8")
    assert (tmp_path / "sbom.json").read_text(encoding="utf-8") == kept, "make sbom"
