"""The whole configuration as one frozen type, put together from its sections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import create_model, model_validator

from dicom_sr_node.config.delivering import DeliverySettings
from dicom_sr_node.config.destinations import SECTIONS, DestinationSection, Dicomweb, Peer
from dicom_sr_node.config.node import DatabaseSettings, DiskSettings, NodeSettings, RetentionSettings
from dicom_sr_node.config.people import AlarmSettings, AuditSettings, WebSettings
from dicom_sr_node.config.receiving import ScpSettings, TlsSettings, WatchSettings
from dicom_sr_node.config.rules import Rule
from dicom_sr_node.config.types import Section
from dicom_sr_node.config.working import DeriveSettings, ModelSettings, WorkSettings
from dicom_sr_node.domain.records import FOLDER

_NEEDS_TLS = "set tls.certificate, private_key and authorities"


class Settings(Section):
    """All of it. Field names are the configuration's keys."""

    node: NodeSettings = NodeSettings()
    scp: ScpSettings = ScpSettings()
    tls: TlsSettings = TlsSettings()
    watch: WatchSettings = WatchSettings()
    disk: DiskSettings = DiskSettings()
    database: DatabaseSettings = DatabaseSettings()
    model: ModelSettings = ModelSettings()
    work: WorkSettings = WorkSettings()
    derive: DeriveSettings = DeriveSettings()
    delivery: DeliverySettings = DeliverySettings()
    retention: RetentionSettings = RetentionSettings()
    audit: AuditSettings = AuditSettings()
    web: WebSettings = WebSettings()
    alarms: AlarmSettings = AlarmSettings()
    peers: Mapping[str, Peer] = {}
    dicomweb: Mapping[str, Dicomweb] = {}
    rules: tuple[Rule, ...] = ()

    @property
    def ways_out(self) -> Mapping[str, DestinationSection]:
        """Every destination of the configuration by its name, whatever its kind."""
        return {name: section for _, name, section in self._ways_out()}

    @property
    def destinations(self) -> tuple[str, ...]:
        """Whatever a rule may send to, and the folder."""
        return (*self.ways_out, FOLDER)

    @property
    def ae_titles(self) -> frozenset[str]:
        """What this node answers to: its own title, and those by which rules tell images apart."""
        return frozenset((self.node.ae_title, *(title for rule in self.rules for title in rule.match.called_ae)))

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        for mistake in (*self._tls_mistakes(), *self._destination_mistakes(), *self._rule_mistakes()):
            raise ValueError(mistake)
        return self

    def _ways_out(self) -> Iterator[tuple[str, str, DestinationSection]]:
        for table in SECTIONS:
            for name, section in getattr(self, table, {}).items():
                yield table, name, section

    def _tls_mistakes(self) -> Iterator[str]:
        if self.tls.certificate:
            return
        if self.audit.to == "syslog":
            yield f'audit.to = "syslog" goes over TLS: {_NEEDS_TLS}'
        if not self.scp.plain:
            yield f"scp.plain = false leaves no way in: {_NEEDS_TLS}"
        for name, section in self.ways_out.items():
            if why := section.tls_needed(name):
                yield f"{why}: {_NEEDS_TLS}"

    def _destination_mistakes(self) -> Iterator[str]:
        seen: dict[str, str] = {}
        for table, name, _ in self._ways_out():
            if name in seen:
                yield f"{name!r} stands in [{seen[name]}] and in [{table}]: give one of them another name"
            seen[name] = table
        if FOLDER in seen:
            yield f"no peer can be named {FOLDER!r}: this is the destination of results without a peer"

    def _rule_mistakes(self) -> Iterator[str]:
        names = [rule.name for rule in self.rules]
        if sum(rule.fallback for rule in self.rules) > 1:
            yield "two rules are the fallback: the one that takes what no other rule does"
        for rule in self.rules:
            peers = [to.peer for to in rule.send_to]
            if len(set(peers)) < len(peers):
                yield f"rule {rule.name!r} names a peer twice in send_to"
            if names.count(rule.name) > 1:
                yield f"two rules are named {rule.name!r}"
            for peer in peers:
                if peer not in self.destinations:
                    known = ", ".join(self.ways_out) or "none"
                    yield f"rule {rule.name!r} sends to {peer!r}, which is no peer; known peers: {known}"


def settings_type() -> type[Settings]:
    """`Settings`, with a table for each kind of destination that `SECTIONS` knows."""
    return _with_tables(tuple(SECTIONS.items()))


@cache
def _with_tables(sections: tuple[tuple[str, type[DestinationSection]], ...]) -> type[Settings]:
    more: dict[str, Any] = {
        table: (Mapping[str, section], {})  # type: ignore[valid-type]
        for table, section in sections
        if table not in Settings.model_fields
    }
    return create_model("Settings", __base__=Settings, **more) if more else Settings
