"""The conformance statement says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.command import srnode
from support.tools import ROOT

from dicom_sr_node.derive import policy
from dicom_sr_node.dicom import statuses, syntaxes
from dicom_sr_node.domain.errors import NotFound
from dicom_sr_node.domain.records import SkipReason
from dicom_sr_node.tools import conformance

DOCUMENT = ROOT / "docs" / "conformance-statement.md"


def test_the_document_holds_every_table_as_the_code_makes_it() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert conformance.filled(text) == text, "run: srnode conformance --update docs/conformance-statement.md"
    assert set(re.findall(r"<!-- table (\w+) -->", text)) == set(conformance.TABLES)


def test_the_command_prints_and_renews_them(tmp_path: Path) -> None:
    printed = srnode("conformance").stdout
    for make in conformance.TABLES.values():
        assert make() in printed
    stale = tmp_path / "statement.md"
    stale.write_text("a\n<!-- table codes -->\nold\n<!-- end -->\nb\n")
    srnode("conformance", "--update", stale)
    assert stale.read_text() == f"a\n<!-- table codes -->\n\n{conformance.codes()}\n\n<!-- end -->\nb\n"


def test_an_unknown_table_is_named() -> None:
    with pytest.raises(NotFound, match="no table 'nonsense'"):
        conformance.filled("<!-- table nonsense -->\n<!-- end -->")


def test_the_tables_are_whole() -> None:
    for reason in SkipReason:
        assert f"| {reason} |" in conformance.reasons()
    for uid in syntaxes.ACCEPTED:
        assert uid in conformance.accepted()
    for keyword in policy.SET:
        assert f"| {keyword} |" in conformance.attributes()
    scp = (ROOT / "dicom_sr_node" / "receive" / "scp.py").read_text()
    named = {name for name in vars(statuses) if name.isupper() and re.search(rf"return {name}\b", scp)}
    assert {getattr(statuses, name) for name in named} == set(statuses.ANSWERS)
