"""The destination when none is configured.

`data_dir/out/SERIES/INSTANCE.dcm`, named by the derived UIDs, which are ours; uncompressed, so that anything reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from dicom_sr_node import spool
from dicom_sr_node.commitment.scu import CommitmentScu
from dicom_sr_node.config.destinations import DestinationSection
from dicom_sr_node.deliver.destinations.base import Commitment, Connection, Description, Surroundings
from dicom_sr_node.derive import encoding
from dicom_sr_node.dicom import header
from dicom_sr_node.domain.diagnosis import Diagnosis
from dicom_sr_node.domain.errors import PeerBusy
from dicom_sr_node.domain.records import Output
from dicom_sr_node.store.commitments import Commitments


class FolderSection(DestinationSection):
    """It has no keys: it is there by itself."""


class Folder:
    """A folder of this machine."""

    commitment: Commitment = "off"
    is_usable = True
    offers_commitment = False

    def __init__(self, name: str, section: FolderSection, node: Surroundings) -> None:
        self._folder = node.out_dir

    def open(self) -> AbstractContextManager[Connection]:
        """It is its own connection."""
        return nullcontext(self)

    def send(self, output: Output, path: Path, *, plain: bool) -> str:
        """Write durably; sending again replaces the file by the same bytes. Raises PeerBusy: the disk may come back."""
        target = self._folder / output.series_uid / f"{output.sop_instance_uid}.dcm"
        try:
            spool.write(target, encoding.plain(header.read(path)))
        except OSError as error:
            raise PeerBusy(f"cannot write {target}: {error}") from error
        return ""

    def check(self, commitments: Commitments) -> Iterator[Diagnosis]:
        """The disk has a check of its own."""
        return iter(())

    def describe(self) -> Description:
        """Where it lies."""
        return Description("", str(self._folder), "nothing", "")

    def commitment_scu(self, commitments: Commitments) -> CommitmentScu | None:
        """A file that is synced is safe."""
        return None

    def audit_address(self) -> tuple[str, str] | None:
        """Nothing leaves the machine."""
        return None
