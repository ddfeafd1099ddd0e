"""What every way out is to the rest of the node."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from pydicom import Dataset

from dicom_sr_node.commitment.scu import CommitmentScu
from dicom_sr_node.derive import encoding
from dicom_sr_node.domain.diagnosis import Diagnosis
from dicom_sr_node.domain.errors import DeliveryError, PeerDoubts, PeerRefused
from dicom_sr_node.domain.records import Output
from dicom_sr_node.network.local_entity import LocalEntity
from dicom_sr_node.store.commitments import Commitments

Commitment = Literal["required", "optional", "off"]


@dataclass(frozen=True)
class Surroundings:
    """What a destination may use of this node. out_dir: where results without a destination go."""

    entity: LocalEntity
    out_dir: Path
    undelivered_s: float  # after so long a result that nobody took is dead


@dataclass(frozen=True)
class Description:
    """A destination for people. ae_title: empty where it has none; may: what it may do to this node."""

    ae_title: str
    place: str
    may: str
    commitment: str


class Connection(Protocol):
    """An open way to a destination."""

    @property
    def is_usable(self) -> bool:
        """Whether more can be sent over it."""

    @property
    def offers_commitment(self) -> bool:
        """Whether the destination will say once more, later, that it has what it took."""

    def send(self, output: Output, path: Path, *, plain: bool) -> str:
        """One derived object, and its file; returns a warning of the destination or nothing.

        plain: without any compression, for the destination did not take it with one. Raises DeliveryError: the
        destination does not have it.
        """


class Destination(Protocol):
    """One way out, by its name in the configuration."""

    def open(self) -> AbstractContextManager[Connection]:
        """Raises DeliveryError, ConfigRefused."""

    def check(self, commitments: Commitments) -> Iterator[Diagnosis]:
        """Try it, step by step, without sending anything; the first that fails explains the rest."""

    def describe(self) -> Description:
        """For the dashboard."""

    @property
    def commitment(self) -> Commitment:
        """Whether storage commitment is asked for."""

    def commitment_scu(self, commitments: Commitments) -> CommitmentScu | None:
        """Who asks for it, or None."""

    def audit_address(self) -> tuple[str, str] | None:
        """(name, network address) for the audit trail; None: what goes there leaves no machine."""


def blamed(error: PeerRefused | PeerDoubts, ds: Dataset) -> DeliveryError:
    """What a destination says of a compressed object may be about its compression: it is tried without."""
    if not encoding.is_compressed(ds):
        return error
    syntax = ds.file_meta.TransferSyntaxUID.name
    return PeerDoubts(f"{error.message}; it was sent in {syntax}: see `compression` of this destination", error.comment)
