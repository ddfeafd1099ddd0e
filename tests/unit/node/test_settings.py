"""A configuration is a type: a mistake stops the start and says where it stands."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel
from support.archive import Archive
from support.command import srnode
from support.tools import ROOT, free_port, run

from dicom_sr_node.config import reference
from dicom_sr_node.config.destinations import Dicomweb, Peer
from dicom_sr_node.config.loading import load
from dicom_sr_node.config.rules import Match, Rule, Target
from dicom_sr_node.config.settings import Settings
from dicom_sr_node.domain.errors import ConfigRefused

GOOD = """
[scp]
port = 11113
[peers.PACS]
ae_title = "ORTHANC"
host = "127.0.0.1"
[[rules]]
name = "chest"
match.modality = ["DX"]
send_to = ["PACS"]
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "node.toml"
    path.write_text(text)
    return path


def refusal(path: Path, environment: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigRefused) as caught:
        load(path, environment or {})
    return str(caught.value)


def test_file_over_defaults_and_environment_over_file(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    settings = load(path, {"SRNODE__SCP__PORT": "11200", "SRNODE__PEERS__PACS__AE_TITLE": "OTHER"})
    assert settings.scp.port == 11200
    assert settings.peers["PACS"].ae_title == "OTHER"
    assert settings.node.ae_title == "SRNODE"
    assert load(path, {}).scp.port == 11113


def test_without_a_file_the_variable_names_one_and_without_that_the_defaults_hold(tmp_path: Path) -> None:
    assert load(None, {"SRNODE_CONFIG": str(written(tmp_path, GOOD))}).scp.port == 11113
    assert load(None, {}) == Settings()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[scp]\nprot = 1", "scp.prot: unknown key; did you mean port?"),
        ("[spc]\nport = 1", "spc: unknown key; did you mean scp?"),
        ("[scp]\nport = 99999", "scp.port"),
        ('[scp]\nport = "x"', "not 'x'"),
        ('[node]\nae_title = "A TITLE THAT IS TOO LONG"', "node.ae_title"),
        ("[model]\nscale = 3", "model.scale"),
        ('[database]\nurl = "mysql://x"', "postgresql+psycopg"),
        ("[peers.P]\nhost = 'h'", "peers.P.ae_title"),
        ('[peers.P]\nae_title = "P"\nhost = "h"\nprot = 1', "peers.P.prot: unknown key; did you mean port?"),
        ('[peers.P]\nae_title = "P"\nhost = "h"\ncommitment = "sometimes"', "peers.P.commitment"),
        ('[[rules]]\nname = "a"\nsend_to = ["NOBODY"]', "'NOBODY', which is no peer"),
        ('[peers.host]\nae_title = "P"\nhost = "h"\nprot = 1', "peers.host.prot: unknown key; did you mean port?"),
        ('[peers.folder]\nae_title = "P"\nhost = "h"', "no peer can be named 'folder'"),
        ('[peers.P]\nae_title="P"\nhost="h"\n[[rules]]\nname="a"\nsend_to=["P","P"]', "names a peer twice"),
        ("[scp]\nidle_timeout_s = inf", "scp.idle_timeout_s"),
        ('[scp]\nhost = ""', "scp.host"),
        ('[[rules]]\nname = "a"\n[[rules]]\nname = "a"', "two rules are named 'a'"),
        ('[[rules]]\nname = "a"\nmatch.modalty = ["CR"]', "rules.0.match.modalty: unknown key; did you mean modality?"),
        ("[scp\nport = 1", "not valid TOML"),
    ],
)
def test_each_mistake_is_named(tmp_path: Path, text: str, told: str) -> None:
    assert told in refusal(written(tmp_path, text))


def test_all_mistakes_are_told_at_once_each_with_its_line(tmp_path: Path) -> None:
    told = refusal(written(tmp_path, '[node]\nae_titel = "X"\n\n[scp]\n# a comment\nport = 0\n'))
    assert "line 2" in told
    assert "line 6" in told


def test_a_mistake_in_the_environment_names_the_variable(tmp_path: Path) -> None:
    told = refusal(written(tmp_path, GOOD), {"SRNODE__SCP__HOSTT": "x"})
    assert "SRNODE__SCP__HOSTT" in told
    assert "did you mean host?" in told


def test_the_line_of_the_second_rule_is_told(tmp_path: Path) -> None:
    told = refusal(written(tmp_path, '[[rules]]\nname = "a"\n[[rules]]\nname = "b"\nsendto = []\n'))
    assert "line 5" in told


def test_a_typo_stops_the_start_with_exit_code_3(tmp_path: Path) -> None:
    path = written(tmp_path, f'[node]\ndata_dir = "{tmp_path / "var"}"\n[scp]\nprot = 1\n')
    for command in ("serve", "receive", "work", "deliver", "status"):
        done = srnode("-c", path, command, check=False)
        assert done.returncode == 3, done.stderr
        assert "scp.prot" in done.stderr
    assert not (tmp_path / "var").exists()


def test_a_model_that_is_not_installed_is_refused_by_the_check(tmp_path: Path) -> None:
    done = srnode("config", "check", "-c", written(tmp_path, '[model]\nname = "nonsense"\n'), check=False)
    assert done.returncode == 3
    assert "known names: xr, xr-gan, xr-lite" in done.stderr


def test_a_missing_file_is_a_refusal_not_the_defaults(tmp_path: Path) -> None:
    done = srnode("config", "check", "-c", tmp_path / "none.toml", check=False)
    assert done.returncode == 3
    assert "no such configuration file" in done.stderr


def test_the_shipped_configuration_and_the_page_are_made_from_the_code() -> None:
    """To mend: srnode config example > config/node.toml; srnode config reference > docs/configuration.md"""
    assert (ROOT / "config" / "node.toml").read_text() == reference.example()
    assert (ROOT / "docs" / "configuration.md").read_text() == reference.page()
    assert srnode("config", "example").stdout == reference.example()
    assert srnode("config", "reference").stdout == reference.page()


def test_the_example_is_the_defaults_and_what_stands_in_its_comments_can_be_taken(tmp_path: Path) -> None:
    text = reference.example()
    assert Settings(**tomllib.loads(text)) == Settings()
    setting = re.compile(r"^# (\[.*\]|[\w.]+ = .*)$", re.MULTILINE)
    whole = load(written(tmp_path, setting.sub(r"\1", text)), {})
    assert whole.rules[0].send_to[1].peer in whole.dicomweb
    assert None not in (whole.tls.certificate, whole.web.runs_dir, whole.watch.folder, whole.node.spool_dir)


def sections(kind: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """A type of settings and all that are inside it, wherever they stand in its annotations."""
    yield kind
    for field in kind.model_fields.values():
        for inner in (field.annotation, *_arguments(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from sections(inner)


def _arguments(annotation: object) -> Iterator[object]:
    for inner in get_args(annotation):
        yield inner
        yield from _arguments(inner)


def test_every_key_has_its_words_and_stands_in_the_example_and_on_the_page() -> None:
    kinds = set(sections(Settings)) - {Settings}
    assert {Peer, Rule, Match, Target, Dicomweb} < kinds
    page, example = reference.page(), reference.example()
    for kind in kinds:
        for key, field in kind.model_fields.items():
            assert field.description, f"{kind.__name__}.{key}"
            if key == "match":
                continue
            shown = f"match.{key}" if kind is Match else key
            assert f"| `{shown}` |" in page, f"{kind.__name__}.{key}"
            if kind is not Target:
                assert re.search(rf"^(# )?{shown} = ", example, re.MULTILINE), f"{kind.__name__}.{key}"


def init(tmp_path: Path, *answers: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    path = tmp_path / "made.toml"
    command = [sys.executable, "-m", "dicom_sr_node", "init", str(path)]
    return run(*command, input="\n".join(answers) + "\n", check=False), path


def test_init_asks_tries_the_peers_and_writes_what_can_be_loaded(tmp_path: Path, archive: Archive) -> None:
    pacs, modality = ("y", "ARCHIVE", "127.0.0.1", str(archive.port)), ("y", "TOO LONG AN AE TITLE", "h", "104")
    again = ("XRAY1", "127.0.0.1", str(free_port()), "n")
    done, path = init(tmp_path, "", str(tmp_path / "var"), "", "", *pacs, *modality, *again)
    assert done.returncode == 0, done.stderr
    assert "The PACS answers." in done.stdout
    assert "The modality 1 does not answer yet" in done.stdout
    assert "an AE title has 1 to 16" in done.stdout
    settings = load(path, {})
    assert settings.node.ae_title == "SRNODE"
    assert settings.peers["PACS"].port == archive.port
    assert settings.peers["MODALITY1"].ae_title == "XRAY1"
    assert [to.peer for to in settings.rules[0].send_to] == ["PACS"]
    before = path.read_text()
    refused, _ = init(tmp_path, "")
    assert refused.returncode == 1
    assert "exists: name another file" in refused.stderr
    assert path.read_text() == before
