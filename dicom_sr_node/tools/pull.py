"""`srnode pull`: images that an archive already has (C-FIND, then C-MOVE of whole series to this node's receiver).

Study Root Query/Retrieve, PS3.4 C.4. What is already here is not moved again, so that a pull can be repeated.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
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
from dicom_sr_node.dicom.header import first
from dicom_sr_node.dicom.sop_kinds import usual_modalities
from dicom_sr_node.dicom.statuses import SUCCESS, text
from dicom_sr_node.domain.errors import PeerRefused, PeerUnreachable
from dicom_sr_node.network import associations, guard
from dicom_sr_node.network.local_entity import LocalEntity
from dicom_sr_node.store.instances import Instances

_PENDING = (0xFF00, 0xFF01)
_SOME_FAILED = 0xB000
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


def find(entity: LocalEntity, peer: Peer, query: StudyQuery) -> list[Series]:
    """The series that an archive has, without those that this software made. Raises DeliveryError."""
    with associations.association(entity, peer, [_FIND]) as assoc:
        series: list[Series] = []
        for study in _ask(assoc, _study_query(query)):
            for answer in _ask(assoc, _series_query(first(study, "StudyInstanceUID"))):
                modality = first(answer, "Modality")
                if modality in query.modalities and first(answer, "Manufacturer") != software.NAME:
                    count = first(answer, "NumberOfSeriesRelatedInstances").strip()
                    images = int(count) if count.isdecimal() else 0
                    uids = first(study, "StudyInstanceUID"), first(answer, "SeriesInstanceUID")
                    series.append(Series(*uids, modality, images))
        return series


def missing(series: list[Series], instances: Instances) -> list[Series]:
    """Those of which not all images are here."""
    return [one for one in series if one.images == 0 or instances.in_series(one.series_uid) < one.images]


def move(
    entity: LocalEntity,
    peer: Peer,
    series: list[Series],
    per_minute: float,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Moved]:
    """One after the other, not faster than so many images a minute. Raises DeliveryError without an association."""
    with associations.association(entity, peer, [_MOVE]) as assoc:
        for one in series:
            began = time.monotonic()
            moved = _move(assoc, entity.ae_title, one)
            yield moved
            if not assoc.is_established:
                raise PeerUnreachable(f"{peer.ae_title} ended the association; what is missing can be pulled again")
            sleep(max(0.0, max(1, moved.sent) * 60 / per_minute - (time.monotonic() - began)))


def _move(assoc: Association, to: str, series: Series) -> Moved:
    query = Dataset()
    query.QueryRetrieveLevel = "SERIES"
    query.StudyInstanceUID, query.SeriesInstanceUID = series.study_uid, series.series_uid
    last: Any = None
    sent = 0  # as far as any answer has counted: the last one of some archives says nothing
    try:
        with guard.exchange(assoc, C_MOVE) as message_id:
            for status, _ in assoc.send_c_move(query, to, _MOVE[0], msg_id=message_id):
                last = status
                sent = max(sent, int(status.get("NumberOfCompletedSuboperations") or 0))
    except (RuntimeError, ValueError, OSError) as error:
        return Moved(series, sent, 0, f"the association broke: {error}")
    if last is None or "Status" not in last:
        return Moved(series, sent, 0, "no answer in time")
    failed = int(last.get("NumberOfFailedSuboperations") or 0)
    if last.Status == 0xA801:
        return Moved(series, sent, failed, f"it does not know where {to} is: add this node there")
    note = "" if last.Status in (SUCCESS, _SOME_FAILED) else text(last.Status)
    return Moved(series, sent, failed, note)


def _ask(assoc: Association, query: Dataset) -> list[Dataset]:
    answers: list[Dataset] = []
    try:
        with guard.exchange(assoc, C_FIND) as message_id:
            for status, answer in assoc.send_c_find(query, _FIND[0], msg_id=message_id):
                if "Status" not in status:
                    who = assoc.requestor.ae_title.strip()
                    raise PeerUnreachable(f"asked what it has, the peer gave no answer: may {who} query there?")
                if status.Status in _PENDING and answer is not None and len(answers) < _MOST_ANSWERS:
                    answers.append(answer)
                elif status.Status not in (SUCCESS, *_PENDING):
                    raise PeerRefused(f"asked what it has, the peer answered {text(status.Status)}")
    except (RuntimeError, ValueError, OSError) as error:
        raise PeerUnreachable(f"the association broke while the peer was asked what it has: {error}") from error
    return answers


def _study_query(asked: StudyQuery) -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel = "STUDY"
    query.StudyInstanceUID = ""
    query.StudyDate = f"{asked.since}-{asked.until}" if asked.since or asked.until else ""
    query.PatientID, query.AccessionNumber = asked.patient_id, asked.accession
    query.ModalitiesInStudy = list(asked.modalities)
    return query


def _series_query(study_uid: str) -> Dataset:
    query = Dataset()
    query.QueryRetrieveLevel = "SERIES"
    query.StudyInstanceUID, query.SeriesInstanceUID = study_uid, ""
    query.Modality = query.Manufacturer = query.NumberOfSeriesRelatedInstances = ""
    return query
