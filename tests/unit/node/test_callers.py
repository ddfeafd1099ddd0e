"""What an administrator is told about callers that were turned away."""

from __future__ import annotations

import tomllib

import pytest

from dicom_sr_node.config.destinations import Peer
from dicom_sr_node.config.settings import Settings
from dicom_sr_node.network.addresses import is_from
from dicom_sr_node.receive.callers import NOT_ALLOWED, OTHER_ADDRESS, OTHER_CALLED, UNKNOWN, line_to_add

PEERS = {"XRAY1": Peer(ae_title="ROOM1", host="192.0.2.20", allow=("store",))}


def test_a_known_title_from_another_address_adds_an_address_and_no_second_peer() -> None:
    lines = line_to_add("ROOM1", "192.0.2.21", OTHER_ADDRESS, PEERS)
    where, setting = lines.splitlines()
    assert where == "# in [peers.XRAY1]:"
    peer = PEERS["XRAY1"].model_copy(update={"addresses": tuple(tomllib.loads(setting)["addresses"])})
    assert is_from("192.0.2.21", peer)
    assert is_from("192.0.2.20", peer)
    assert not is_from("192.0.2.22", peer)


def test_an_unknown_title_gets_a_section_of_its_own_under_a_name_that_is_free() -> None:
    lines = line_to_add("XRAY1", "192.0.2.30", UNKNOWN, PEERS)
    settings = Settings(peers={**PEERS, **tomllib.loads(lines)["peers"]})
    assert set(settings.peers) == {"XRAY1", "XRAY1_2"}
    assert settings.peers["XRAY1_2"].ae_title == "XRAY1"


@pytest.mark.parametrize("why", [f"{OTHER_CALLED}: 'OTHER'", NOT_ALLOWED])
def test_what_no_new_lines_would_mend_gets_none(why: str) -> None:
    assert line_to_add("ROOM1", "192.0.2.20", why, PEERS) == ""
