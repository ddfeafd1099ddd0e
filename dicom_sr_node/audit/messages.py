"""Messages of the audit trail (PS3.15 A.5) as XML. They name patients: the trail is no log."""

from __future__ import annotations

from datetime import UTC, datetime
from xml.etree import ElementTree as Xml

from dicom_sr_node.domain.records import Caller, Identity, Instance, Output

_APPLICATION = ("110100", "Application Activity")
_STARTED, _STOPPED = ("110120", "Application Start"), ("110121", "Application Stop")
_TRANSFERRED = ("110104", "DICOM Instances Transferred")
_ALERT, _REFUSED = ("110113", "Security Alert"), ("110126", "Node Authentication")
_SOURCE, _DESTINATION, _SELF = (
    ("110153", "Source Role ID"),
    ("110152", "Destination Role ID"),
    ("110150", "Application"),
)
_USER = ("110151", "Application Launcher")  # whoever acts
_NODE_ID = ("110182", "Node ID")
_STUDY = ("110180", "Study Instance UID")
_PATIENT = ("2", "Patient Number", "RFC-3881")
_SUCCESS, _SERIOUS = "0", "8"
_APPLICATION_SERVER = "4"  # audit source type, RFC 3881 5.4.1
_BY_ADDRESS = "2"  # network access point type


class AuditMessages:
    """The messages of one node; each is empty where no trail is wanted."""

    def __init__(self, ae_title: str, *, enabled: bool) -> None:
        self._ae_title, self._enabled = ae_title, enabled

    def started(self, role: str) -> str:
        """A role has started (A.5.3.1)."""
        return self._activity(role, _STARTED)

    def stopped(self, role: str) -> str:
        """A role ends in good order (A.5.3.1)."""
        return self._activity(role, _STOPPED)

    def received(self, identity: Identity, calling_ae: str, address: str) -> str:
        """An image was received (A.5.3.7)."""
        if not self._enabled:
            return ""
        message = self._message(_TRANSFERRED, "C")
        _participant(message, calling_ae, _SOURCE, requestor=True, address=address)
        _participant(message, self._ae_title, _DESTINATION)
        _objects(message, identity.study_uid, identity.sop_class_uid, identity.patient_id)
        return _text(message)

    def sent(self, output: Output, source: Instance, to: str, address: str) -> str:
        """A result was sent (A.5.3.7)."""
        if not self._enabled:
            return ""
        message = self._message(_TRANSFERRED, "R")
        _participant(message, self._ae_title, _SOURCE, requestor=True)
        _participant(message, to, _DESTINATION, address=address)
        _objects(message, source.study_uid, output.sop_class_uid, source.patient_id)
        return _text(message)

    def acted(self, who: str, address: str, what: str, *, failed: bool = False) -> str:
        """Somebody has changed something, or tried to log in (A.5.3.1: an administrative event)."""
        if not self._enabled:
            return ""
        message = self._message(_APPLICATION, "E", outcome=_SERIOUS if failed else _SUCCESS)
        _participant(message, self._ae_title, _SELF)
        _participant(message, who, _USER, requestor=True, address=address)
        _node_object(message, self._ae_title, "Description", what)
        return _text(message)

    def refused(self, caller: Caller) -> str:
        """Somebody was turned away (A.5.3.11)."""
        if not self._enabled:
            return ""
        message = self._message(_ALERT, "E", kind=_REFUSED, outcome=_SERIOUS)
        _participant(message, self._ae_title, _SELF)
        _participant(message, caller.calling_ae, _SOURCE, requestor=True, address=caller.address)
        _node_object(message, caller.address, "Alert Description", caller.why)
        return _text(message)

    def _activity(self, role: str, kind: tuple[str, str]) -> str:
        if not self._enabled:
            return ""
        message = self._message(_APPLICATION, "E", kind=kind)
        _participant(message, f"{self._ae_title} {role}", _SELF)
        return _text(message)

    def _message(
        self,
        event: tuple[str, str],
        action: str,
        *,
        kind: tuple[str, str] | None = None,
        outcome: str = _SUCCESS,
    ) -> Xml.Element:
        message = Xml.Element("AuditMessage")
        identification = Xml.SubElement(message, "EventIdentification")
        identification.set("EventActionCode", action)
        identification.set("EventDateTime", datetime.now(UTC).isoformat(timespec="milliseconds"))
        identification.set("EventOutcomeIndicator", outcome)
        _code(identification, "EventID", event)
        if kind:
            _code(identification, "EventTypeCode", kind)
        source = Xml.SubElement(message, "AuditSourceIdentification")
        source.set("AuditSourceID", self._ae_title)
        Xml.SubElement(source, "AuditSourceTypeCode").set("csd-code", _APPLICATION_SERVER)
        return message


def _node_object(message: Xml.Element, node: str, kind: str, value: str) -> None:
    """Which node it is about, and a detail in words."""
    about = Xml.SubElement(message, "ParticipantObjectIdentification")
    about.set("ParticipantObjectID", node)
    about.set("ParticipantObjectTypeCode", "2")
    _code(about, "ParticipantObjectIDTypeCode", _NODE_ID)
    detail = Xml.SubElement(about, "ParticipantObjectDetail")
    detail.set("type", kind)
    detail.set("value", value)


def _participant(
    message: Xml.Element, ae_title: str, role: tuple[str, str], *, requestor: bool = False, address: str = ""
) -> None:
    """Stands between the event and the source, as the schema has it (A.5.1)."""
    participant = Xml.Element("ActiveParticipant")
    participant.set("UserID", ae_title)
    participant.set("AlternativeUserID", f"AETITLES={ae_title}")
    participant.set("UserIsRequestor", "true" if requestor else "false")
    if address:
        participant.set("NetworkAccessPointID", address)
        participant.set("NetworkAccessPointTypeCode", _BY_ADDRESS)
    _code(participant, "RoleIDCode", role)
    before = next(i for i, child in enumerate(message) if child.tag == "AuditSourceIdentification")
    message.insert(before, participant)


def _objects(message: Xml.Element, study_uid: str, sop_class_uid: str, patient_id: str) -> None:
    study = Xml.SubElement(message, "ParticipantObjectIdentification")
    study.set("ParticipantObjectID", study_uid)
    study.set("ParticipantObjectTypeCode", "2")
    study.set("ParticipantObjectTypeCodeRole", "3")
    _code(study, "ParticipantObjectIDTypeCode", _STUDY)
    sop_class = Xml.SubElement(study, "SOPClass")
    sop_class.set("UID", sop_class_uid)
    sop_class.set("NumberOfInstances", "1")
    patient = Xml.SubElement(message, "ParticipantObjectIdentification")
    patient.set("ParticipantObjectID", patient_id)
    patient.set("ParticipantObjectTypeCode", "1")
    patient.set("ParticipantObjectTypeCodeRole", "1")
    _code(patient, "ParticipantObjectIDTypeCode", _PATIENT[:2], _PATIENT[2])


def _code(parent: Xml.Element, name: str, code: tuple[str, str], system: str = "DCM") -> None:
    element = Xml.SubElement(parent, name)
    element.set("csd-code", code[0])
    element.set("originalText", code[1])
    element.set("codeSystemName", system)


def _text(message: Xml.Element) -> str:
    """One line; what XML cannot hold (control characters of a hostile name) is left out."""
    for element in message.iter():
        for key, value in element.attrib.items():
            element.set(key, "".join(c for c in value if c.isprintable()))
    return Xml.tostring(message, encoding="unicode")
