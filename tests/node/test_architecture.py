"""The arrows of the design: who may import whom."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from kit import ROOT

PACKAGES = ("dicom_sr_node", "model", "training")


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


MODULES = modules()
FORBIDDEN = [
    (r"model(\.|$)", r"(dicom_sr_node|training|pydicom|pynetdicom|highdicom|sqlalchemy)(\.|$)"),
    (r"training(\.|$)", r"(dicom_sr_node|pynetdicom|highdicom|sqlalchemy)(\.|$)"),
    (r"training\.(?!dicom$)", r"pydicom(\.|$)"),
    (r"dicom_sr_node\.", r"(torch|training)(\.|$)"),
    (r"dicom_sr_node\.receive\.", r"dicom_sr_node\.(deliver|worker|process|compute)(\.|$)"),
    (r"dicom_sr_node\.deliver\.", r"dicom_sr_node\.(receive|worker|process|compute)(\.|$)"),
    (
        r"dicom_sr_node\.store\.",
        r"dicom_sr_node\.(receive|deliver|derive|network|pixels|worker|process|app|cli|spool)(\.|$)",
    ),
    (r"dicom_sr_node\.(?!store\.|app$)", r"(sqlalchemy|alembic)(\.|$)(?!exc)"),
    (r"dicom_sr_node\.(routing|derive\..*)$", r"dicom_sr_node\.(store|spool|network|app)(\.|$)"),
    (r"dicom_sr_node\.(?!process$|compute$|models$|doctor$|upscale$|quality$|verify\.|commands\.)", r"model(\.|$)"),
]


@pytest.mark.parametrize(("who", "whom"), FORBIDDEN)
def test_no_arrow_goes_the_wrong_way(who: str, whom: str) -> None:
    subject = [name for name in MODULES if re.match(who, name)]
    assert subject, f"no module matches {who}"
    wrong = {name: sorted(i for i in imports(MODULES[name]) if re.match(whom, i)) for name in subject}
    allowed = {"sqlalchemy.exc", "sqlalchemy.exc.SQLAlchemyError"}
    wrong = {name: [i for i in found if i not in allowed] for name, found in wrong.items()}
    assert not {name: found for name, found in wrong.items() if found}


def test_every_package_is_listed_for_installation() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    for path in ROOT.glob("*/**/__init__.py"):
        package = ".".join(path.parent.relative_to(ROOT).parts)
        if package.split(".")[0] in PACKAGES:
            assert f'"{package}"' in text, package


def test_broad_excepts_stand_only_where_any_fault_has_a_fate() -> None:
    found = {
        name: len(re.findall(r"except (Base)?Exception\b", path.read_text()))
        for name, path in MODULES.items()
        if name.startswith("dicom_sr_node")
    }
    assert {name for name, count in found.items() if count} == {
        "dicom_sr_node.receive.scp",
        "dicom_sr_node.cli",  # ends the process without a traceback, which may quote a patient
        "dicom_sr_node.worker",  # an answer that cannot be written down is one image's end
        "dicom_sr_node.web.site",  # a fault of ours is one answer, 500, and a line in the log
        "dicom_sr_node.compute",
        "dicom_sr_node.pixels.reader",  # whatever a damaged file makes a library raise is one image's end
        "dicom_sr_node.upscale",  # a bad file never ends the others
        "dicom_sr_node.spool",  # cleans up and raises again
        "dicom_sr_node.network.guard",  # ends one association
        "dicom_sr_node.network.requests",  # ends one connection
        "dicom_sr_node.steps",  # carries a thread's fault to where it ends the process
    }
