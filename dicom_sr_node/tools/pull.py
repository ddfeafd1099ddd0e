"""`srnode pull`: images that an archive already has (C-FIND, then C-MOVE of whole series to this node's receiver).

Study Root Query/Retrieve, PS3.4 C.4. What is already here is not moved again, so that a pull can be repeated.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from pydicom import Dataset
from pynetdicom import Association
from pynetdicom.dimse_primitives import C_FIND, C_MOVE
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
)

from dicom_sr_node.config.destinations import Peer
from dicom_sr_node.dicom import software, syntaxes
from dicom_sr_node.dicom.header import check_uid, first
from dicom_sr_node.dicom.sop_kinds import usual_modalities
from dicom_sr_node.dicom.statuses import SUCCESS, text
from dicom_sr_node.domain.errors import PeerRefused, PeerUnreachable, Unreadable
from dicom_sr_node.network import associations, guard
from dicom_sr_node.network.local_entity import LocalEntity
from dicom_sr_node.store.instances import Instances

_PENDING = (0xFF00, 0xFF01)
_LIMITS = (0xFE00, 0xA700)  # cancelled by the archive itself, out of resources: so many answers, and no more
_SOME_FAILED = 0xB000
_NEARLY = 0.9
_MOST_ANSWERS = 100_000
_FIND = (str(StudyRootQueryRetrieveInformationModelFind), str(syntaxes.UNCOMPRESSED[1]))
_MOVE = (str(StudyRootQueryRetrieveInformationModelMove), str(syntaxes.UNCOMPRESSED[1]))


@dataclass(frozen=True, kw_only=True)
class StudyQuery:
    """What is asked for; what is empty matches everything. Dates as YYYYMMDD."""

    since: str = ""
    until: str = ""
    modalities: tuple[str, ...] = field(default_factory=usual_modalities)
    patient_id: str = ""
    accession: str = ""


@dataclass(frozen=True)
class Series:
    """A series of the archive. images: 0 where the archive does not say how many."""

    study_uid: str
    series_uid: str
    modality: str
    images: int


@dataclass(frozen=True)
class Moved:
    """What became of one series: images that the archive says it has sent, and what went wrong."""

    series: Series
    sent: int
    failed: int
    note: str = ""


@dataclass
class Holdings:
    """What an archive says that it has. notes: why this may not be all, in words."""

    series: list[Series] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find(entity: LocalEntity, peer: Peer, query: StudyQuery) -> Holdings:
    """The series that an archive has, without those that this software made. Raises DeliveryError."""
    holdings, studies, series = Holdings(), dict[str, None](), dict[str, Series]()
    with associations.association(entity, peer, [_FIND]) as assoc:
        asking = _Asking(assoc, entity.timeouts.response_timeout_s, holdings.notes)
        for modality in query.modalities:  # several values in one query would have to be negotiated (PS3.4 C.4.1.2.1)
            for answer in asking.ask(_study_query(query, modality)):
                if uid := asking.uid_of(answer, "StudyInstanceUID"):
                    studies[uid] = None
        for study in studies:
            for answer in asking.ask(_series_query(study)):
                uid = asking.uid_of(answer, "SeriesInstanceUID")
                if first(answer, "StudyInstanceUID").strip() not in ("", study):
                    asking.leave_out("about another study")
                elif uid and (modality := first(answer, "Modality")) in query.modalities:
                    if first(answer, "Manufacturer") == software.NAME:
                        continue
                    series[uid] = Series(study, uid, modality, _images(answer))
    holdings.series = list(series.values())
    holdings.notes += asking.left_out()
    return holdings


def missing(series: list[Series], instances: Instances) -> list[Series]:
    """Those of which not all images are here."""
    return [one for one in series if one.images == 0 or instances.in_series(one.series_uid) < one.images]


def move(
    entity: LocalEntity,
    peer: Peer,
    series: list[Series],
    per_minute: float,
    instances: Instances,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Moved]:
    """One after the other, not faster than so many images a minute. Raises DeliveryError without an association."""
    patience_s = entity.timeouts.move_timeout_s
    with associations.association(entity, peer, [_MOVE], response_timeout_s=patience_s) as assoc:
        for one in series:
            began = time.monotonic()
            moved = _move(assoc, entity.ae_title, one, patience_s)
            here = instances.in_series(one.series_uid)
            if not moved.failed and not moved.note and here < one.images:
                moved = replace(moved, note=f"it announced {one.images} images, and {here} are here")
            yield moved
            if not assoc.is_established:
                raise PeerUnreachable(f"{peer.ae_title} ended the association; what is missing can be pulled again")
            sleep(max(0.0, max(1, moved.sent) * 60 / per_minute - (time.monotonic() - began)))


def _move(assoc: Association, to: str, series: Series, patience_s: float) -> Moved:
    query = Dataset()
    query.QueryRetrieveLevel = "SERIES"
    query.StudyInstanceUID, query.SeriesInstanceUID = series.study_uid, series.series_uid
    last: Any = None
    sent = 0  # as far as any answer has counted: the last one of some archives says nothing
    answered_at, silent_s = time.monotonic(), 0.0
    try:
        with guard.exchange(assoc, C_MOVE) as message_id:
            for status, _ in assoc.send_c_move(query, to, _MOVE[0], msg_id=message_id):
                last, silent_s, answered_at = status, time.monotonic() - answered_at, time.monotonic()
                sent = max(sent, int(status.get("NumberOfCompletedSuboperations") or 0))
    except (RuntimeError, ValueError, OSError) as error:
        return Moved(series, sent, 0, f"the association broke: {error}")
    if last is None or "Status" not in last:
        return Moved(series, sent, 0, _silence(silent_s, patience_s, "move_timeout_s"))
    failed = int(last.get("NumberOfFailedSuboperations") or 0)
    if last.Status == 0xA801:
        return Moved(series, sent, failed, f"it does not know where {to} is: add this node there")
    note = "" if last.Status in (SUCCESS, _SOME_FAILED) else text(last.Status)
    return Moved(series, sent, failed, note)


class _Asking:
    """C-FIND over one association, and what its answers leave to be desired."""

    def __init__(self, assoc: Association, patience_s: float, notes: list[str]) -> None:
        self._assoc, self._patience_s, self._notes = assoc, patience_s, notes
        self._left_out: Counter[str] = Counter()

    def ask(self, query: Dataset) -> list[Dataset]:
        """All answers. Raises DeliveryError."""
        answers: list[Dataset] = []
        answered_at = time.monotonic()
        try:
            with guard.exchange(self._assoc, C_FIND) as message_id:
                for status, answer in self._assoc.send_c_find(query, _FIND[0], msg_id=message_id):
                    silent_s, answered_at = time.monotonic() - answered_at, time.monotonic()
                    if "Status" not in status:
                        who = self._assoc.requestor.ae_title.strip()
                        why = _silence(silent_s, self._patience_s, "response_timeout_s")
                        raise PeerUnreachable(
                            f"asked what it has, the peer gave no answer: {why}; may {who} query there?"
                        )
                    if status.Status in _PENDING and answer is not None and len(answers) < _MOST_ANSWERS:
                        answers.append(answer)
                    elif status.Status in _LIMITS or status.Status in _PENDING:
                        self._say_limit(len(answers), status.Status)
                    elif status.Status != SUCCESS:
                        raise PeerRefused(f"asked what it has, the peer answered {text(status.Status)}")
        except (RuntimeError, ValueError, OSError) as error:
            raise PeerUnreachable(f"the association broke while the peer was asked what it has: {error}") from error
        return answers

    def uid_of(self, answer: Dataset, keyword: str) -> str:
        """Nothing where an answer has none: as a query one level down that would match everything."""
        try:
            return check_uid(first(answer, keyword).strip("\0 "), keyword)
        except Unreadable:
            self.leave_out(f"without a {keyword}")
            return ""

    def leave_out(self, why: str) -> None:
        """An answer that nothing can be done with."""
        self._left_out[why] += 1

    def left_out(self) -> list[str]:
        """A note for each kind."""
        return [f"answers {why}, which were left out: {count}" for why, count in self._left_out.items()]

    def _say_limit(self, count: int, status: int) -> None:
        note = f"the archive ended its list after {count} answers ({text(status)}): narrow the dates (--from, --to)"
        if note not in self._notes:
            self._notes.append(note)


def _silence(silent_s: float, patience_s: float, key: str) -> str:
    """Whose it was: ours, who did not wait longer, or the archive's, which went away."""
    if silent_s >= patience_s * _NEARLY:
        return f"this node waited {patience_s:g} s for it (delivery.{key})"
    return "the archive ended the association"


def _images(answer: Dataset) -> int:
    count = first(answer, "NumberOfSeriesRelatedInstances").strip()
    return int(count) if count.isdecimal() else 0


def _study_query(asked: StudyQuery, modality: str) -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel = "STUDY"
    query.StudyInstanceUID = ""
    query.StudyDate = f"{asked.since}-{asked.until}" if asked.since or asked.until else ""
    query.PatientID, query.AccessionNumber = asked.patient_id, asked.accession
    query.ModalitiesInStudy = modality
    return query


def _series_query(study_uid: str) -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel = "SERIES"
    query.StudyInstanceUID, query.SeriesInstanceUID = study_uid, ""
    query.Modality = query.Manufacturer = query.NumberOfSeriesRelatedInstances = ""
    return query
