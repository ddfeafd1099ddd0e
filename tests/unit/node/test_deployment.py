"""The units, the image and the compose file, as far as they can be checked without systemd and Docker."""

from __future__ import annotations

import configparser
import json
import re
import shlex
from pathlib import Path

import pytest
from support.tools import ROOT
from typer.main import get_command

from dicom_sr_node.cli import cli
from dicom_sr_node.config.loading import load

DOCKER = ROOT / "config" / "docker"
UNITS = sorted((ROOT / "config" / "systemd").glob("*.service"))
COMMANDS = set(get_command(cli).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", UNITS, ids=[path.name for path in UNITS])
def test_a_unit_starts_a_command_that_exists_and_is_restarted(path: Path) -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(path)
    service = unit["Service"]
    program, option, config, role = shlex.split(service["ExecStart"])
    assert (Path(program).name, option, config) == ("srnode", "--config", "/etc/srnode/node.toml")
    assert role in COMMANDS or (role == "%i" and path.stem.endswith("@"))
    assert service["Restart"] == "always"
    assert service["UMask"] == "0077"
    assert int(service["TimeoutStopSec"]) > 30  # the roles drain for so long


def test_the_image_copies_what_exists_and_runs_the_node() -> None:
    lines = (DOCKER / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    words = [shlex.split(line) for line in lines if line and not line.startswith("#")]
    copied = [source for first, *rest in words if first == "COPY" for source in rest[:-1]]
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
    text = "\n".join(lines)
    packages = re.findall(
        r'^    "((?:dicom_sr_node|model|training))[.a-z]*",', (ROOT / "pyproject.toml").read_text(), re.M
    )
    assert set(packages) <= set(copied)
    assert 'CMD ["serve"]' in text
    assert "USER srnode" in text


def test_the_compose_file_names_roles_files_and_a_configuration_that_is_right() -> None:
    text = (DOCKER / "compose.yaml").read_text()
    roles = re.findall(r'^    command: \["(\w+)"\]', text, re.M)
    assert roles == ["receive", "work", "deliver"]
    assert set(roles) <= COMMANDS
    for variable in re.findall(r"SRNODE__\w+", text):
        assert variable == "SRNODE__DATABASE__URL"
    settings = load(DOCKER / "node.toml", {"SRNODE__DATABASE__URL": "postgresql+psycopg://srnode@database/srnode"})
    assert settings.database.is_served
    assert f"spool:{settings.node.spool}" in text
    assert f'"NODE": ["{settings.node.ae_title}", "receive", {settings.scp.port}]' in text
    assert settings.peers["ORTHANC"].host in re.findall(r"^  (\w+):", text, re.M)


def test_the_grafana_dashboard_asks_for_numbers_that_the_node_gives() -> None:
    panels = json.loads((ROOT / "config" / "grafana.json").read_text())["panels"]
    asked = {name for panel in panels for name in re.findall(r"srnode_\w+", panel["targets"][0]["expr"])}
    given = set(re.findall(r'"(srnode_\w+)"', (ROOT / "dicom_sr_node" / "web" / "monitoring.py").read_text()))
    assert asked
    assert asked <= given
