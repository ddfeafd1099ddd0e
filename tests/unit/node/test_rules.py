"""Routing, callers, statuses, backoff: pure decisions."""

from __future__ import annotations

from datetime import UTC, date, datetime, time

import pytest
from support.images import image

from dicom_sr_node.config.destinations import Peer
from dicom_sr_node.config.rules import Match, Rule, Target
from dicom_sr_node.config.working import ModelSettings
from dicom_sr_node.dicom import statuses, syntaxes
from dicom_sr_node.domain.errors import PeerBusy, PeerDoubts, PeerRefused
from dicom_sr_node.domain.records import FOLDER, Origin, Priority
from dicom_sr_node.receive import callers
from dicom_sr_node.rules import routing
from dicom_sr_node.rules.routing import OutputSpec
from dicom_sr_node.runtime.backoff import RetryPolicy


@pytest.mark.parametrize(
    ("priority", "window", "at", "expected"),
    [
        ("stat", "19:00-06:00", "12:00", (Priority.STAT, 0)),
        ("routine", "19:00-06:00", "12:00", (Priority.ROUTINE, 0)),
        ("backfill", "", "12:00", (Priority.BACKFILL, 0)),
        ("backfill", "19:00-06:00", "12:00", (Priority.BACKFILL, 7 * 3600)),
        ("backfill", "19:00-06:00", "23:30", (Priority.BACKFILL, 0)),
        ("backfill", "19:00-06:00", "05:59", (Priority.BACKFILL, 0)),
        ("backfill", "19:00-06:00", "06:00", (Priority.BACKFILL, 13 * 3600)),
        ("backfill", "02:00-04:00", "01:00", (Priority.BACKFILL, 3600)),
        ("backfill", "02:00-04:00", "04:00", (Priority.BACKFILL, 22 * 3600)),
    ],
)
def test_urgency_and_the_off_peak_window(priority: str, window: str, at: str, expected: tuple[Priority, float]) -> None:
    now = datetime.combine(date(2026, 5, 4), time.fromisoformat(at), UTC)
    rule = Rule.model_validate({"name": "r", "priority": priority})
    assert routing.urgency(rule, window, now) == expected
    assert routing.urgency(None, window, now) == (Priority.ROUTINE, 0)


HERE = Origin(calling_ae="MOD", called_ae="SRNODE")


def destinations(rule: Rule | None) -> tuple[str, ...]:
    assert rule is not None
    return tuple(name for form in routing.output_specs(rule, ModelSettings(), "burned") for name in form.destinations)


def name_of(rule: Rule | None) -> str:
    return "" if rule is None else rule.name


def test_without_rules_everything_goes_to_the_folder() -> None:
    assert destinations(routing.rule_for(image(), (), HERE)) == (FOLDER,)


def test_the_first_rule_that_matches_decides() -> None:
    rules = (
        Rule(name="cr", match=Match(modality=("CR",)), send_to=(Target(peer="A"),)),
        Rule(
            name="any",
            send_to=(
                Target(peer="B"),
                Target(peer="C"),
            ),
        ),
        Rule(name="dx", match=Match(modality=("DX",)), send_to=(Target(peer="D"),)),
    )
    assert destinations(routing.rule_for(image(modality="CR"), rules, HERE)) == ("A",)
    assert name_of(routing.rule_for(image(modality="DX"), rules, HERE)) == "any"
    assert routing.rule_for(image(modality="DX"), rules[:1], HERE) is None


def test_the_fallback_is_asked_last_wherever_it_stands() -> None:
    rules = (Rule(name="rest", fallback=True), Rule(name="cr", match=Match(modality=("CR",))))
    assert name_of(routing.rule_for(image(modality="CR"), rules, HERE)) == "cr"
    assert name_of(routing.rule_for(image(modality="DX"), rules, HERE)) == "rest"


@pytest.mark.parametrize(
    ("match", "told"),
    [
        ({"modality": ["DX"]}, None),
        ({"modality": ["CR", "M*"]}, "modality is DX, not CR or M*"),
        ({"body_part": ["chest"]}, None),
        ({"body_part": ["CH*"]}, None),
        ({"body_part": ["HAND"]}, "body_part is CHEST, not HAND"),
        ({"view": ["PA", "AP"]}, None),
        ({"view": ["LL"]}, "view is PA, not LL"),
        ({"station": ["ER-?"]}, None),
        ({"station": ["ER-??"]}, "station is ER-1, not ER-??"),
        ({"calling_ae": ["MOD"]}, None),
        ({"calling_ae": ["MOD2"]}, "calling_ae is MOD, not MOD2"),
        ({"called_ae": ["SRNODE_X2"]}, "called_ae is SRNODE, not SRNODE_X2"),
        ({"min_megapixels": 0.004}, None),
        ({"max_megapixels": 0.005}, None),
        ({"max_megapixels": 0.004}, "size is 0.00 megapixels, not at most 0.004"),
        ({"min_megapixels": 5}, "size is 0.00 megapixels, not at least 5"),
    ],
)
def test_each_condition_is_met_or_says_why_not(match: dict[str, object], told: str | None) -> None:
    ds = image(64, modality="DX")
    ds.BodyPartExamined, ds.ViewPosition, ds.StationName = "CHEST", "PA", "ER-1"
    assert routing.misses(Match.model_validate(match), ds, HERE) == ([told] if told else [])


def test_all_conditions_must_hold_and_all_that_do_not_are_told() -> None:
    match = Match(modality=("CR",), calling_ae=("X",), called_ae=("SRNODE",))
    assert len(routing.misses(match, image(modality="DX"), HERE)) == 2


def test_a_header_without_its_size_yet_is_not_turned_away_for_it() -> None:
    ds = image(64)
    del ds.Rows
    assert routing.misses(Match(min_megapixels=5), ds, HERE) == []


def test_destinations_that_want_the_same_share_a_form() -> None:
    rule = Rule.model_validate(
        {
            "name": "r",
            "scale": 2,
            "send_to": [
                "A",
                {"peer": "B", "label": "none"},
                {"peer": "C", "scale": 2},
                {"peer": "D", "model": "other"},
            ],
        }
    )
    assert routing.output_specs(rule, ModelSettings(), "burned") == (
        OutputSpec("", 2, "burned", ("A", "C")),
        OutputSpec("", 2, "none", ("B",)),
        OutputSpec("other", 2, "burned", ("D",)),
    )


PEERS = {
    "MOD": Peer(ae_title="MODALITY", host="192.0.2.7", allow=("store",)),
    "PACS": Peer(ae_title="PACS", host="192.0.2.8"),
    "WARD": Peer(ae_title="WARD", host="192.0.2.1", addresses=("10.1.0.0/16", "2001:db8::/32"), allow=("store",)),
}


@pytest.mark.parametrize(
    ("title", "address", "allowed"),
    [
        ("ANYONE", "127.0.0.1", True),
        ("ANYONE", "::1", True),
        ("MODALITY", "192.0.2.7", True),
        ("MODALITY", "192.0.2.9", False),
        ("OTHER", "192.0.2.7", False),
        ("PACS", "192.0.2.8", False),
        ("MODALITY", "", False),
        ("WARD", "10.1.2.3", True),
        ("WARD", "2001:db8::7", True),
        ("WARD", "10.2.2.3", False),
        ("WARD", "192.0.2.1", False),
    ],
)
def test_only_loopback_and_peers_that_may_store_may_send(title: str, address: str, allowed: bool) -> None:
    verdict = callers.authorise(title, address, None, PEERS, known_only=True)
    assert verdict.may_store is allowed


@pytest.mark.parametrize("answer", [0x0000, 0xB000, 0xB006, 0xB007, 0x0111, 0x0001, 0x0107, 0x0116, 0xB123])
def test_warnings_and_duplicates_are_stored(answer: int) -> None:
    assert statuses.is_stored(answer)
    assert "unknown" not in statuses.text(answer)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (0xA700, PeerBusy),
        (0xA702, PeerBusy),
        (0x0213, PeerBusy),
        (0x0110, PeerDoubts),
        (0xC000, PeerDoubts),
        (0xC211, PeerDoubts),
        (0xA900, PeerRefused),
        (0x0117, PeerRefused),
        (0x0122, PeerRefused),
        (0x0124, PeerRefused),
        (0x1234, PeerRefused),
        (0xA123, PeerRefused),
        (0x0188, PeerRefused),
        (0xFE00, PeerDoubts),
        (0xFF00, PeerDoubts),
    ],
)
def test_each_status_has_a_fate(answer: int, kind: type) -> None:
    assert not statuses.is_stored(answer)
    error = statuses.error_for(answer, "because")
    assert type(error) is kind
    assert f"0x{answer:04X}" in str(error)
    assert "because" in str(error)


def test_pauses_double_up_to_the_longest() -> None:
    pauses = [RetryPolicy(30, 900).pause_s(failures) for failures in range(50)]
    for failures, pause in enumerate(pauses):
        longest = min(900, 30 * 2.0**failures)
        assert 0.8 * longest <= pause <= longest


def test_deflated_syntaxes_are_never_offered() -> None:
    assert not set(syntaxes.REFUSED) & set(syntaxes.ACCEPTED)
    assert "1.2.840.10008.1.2.1.99" in syntaxes.REFUSED
