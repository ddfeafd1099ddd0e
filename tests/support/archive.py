"""A scripted PACS."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from pydicom import Dataset
from pynetdicom import AE, build_role, evt
from support.tools import free_port

from dicom_sr_node.commitment import wire
from dicom_sr_node.dicom import syntaxes


class Archive:
    """A scripted PACS: answers each C-STORE with the next status of its script, then with success.

    commits: whether it offers storage commitment, and how it reports: on the `same` association, in `reverse` to a
    port, or `never`. lost: SOP Instance UIDs that it denies to have. rejects: result, source and reason of its answer
    to each association, while it is set. says: elements that it puts into its answers to C-STORE. cannot_use: a
    transfer syntax that it accepts, and then refuses each object in.
    """

    def __init__(
        self,
        port: int | None = None,
        script: Sequence[int] = (),
        syntaxes_taken: Sequence[str] = (),
        commits: str = "",
        reverse_port: int = 0,
    ) -> None:
        self.port = port or free_port()
        self.script = list(script)
        self.commits, self.reverse_port = commits, reverse_port
        self.lost: list[str] = []
        self.rejects: tuple[int, int, int] | None = None
        self.says: dict[str, object] = {}
        self.cannot_use = ""
        self._breaks = 0
        self.asked: list[Dataset] = []
        self.syntaxes_taken = list(syntaxes_taken) or syntaxes.UNCOMPRESSED
        self.received: list[Dataset] = []
        self._server: Any = None

    @property
    def uids(self) -> list[str]:
        return [str(ds.SOPInstanceUID) for ds in self.received]

    def start(self) -> Archive:
        ae = AE(ae_title="ARCHIVE")
        for uid in syntaxes.storage_classes("all"):
            ae.add_supported_context(uid, self.syntaxes_taken)
        ae.add_supported_context("1.2.840.10008.1.1")
        if self.commits:
            ae.add_supported_context(wire.SOP_CLASS, scu_role=True, scp_role=True)
        handlers = [
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_N_ACTION, self._commit),
        ]
        self._server = ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server = None

    def commits_after(self, requests: int) -> None:
        """So many associations break when it is asked to commit."""
        self._breaks = requests

    def _commit(self, event: evt.Event) -> tuple[int, None]:
        if self._breaks:
            self._breaks -= 1
            event.assoc.abort()
            return 0x0110, None
        self.asked.append(event.action_information)
        request = wire.CommitmentAction.read(event.action_information)
        failed = {ref: 0x0112 for ref in request.references if ref.sop_instance_uid in self.lost}
        kept = [ref for ref in request.references if ref not in failed]
        self.lost = []
        report = wire.CommitmentReport(request.transaction_uid, kept, failed)
        if self.commits != "never":
            threading.Thread(target=self.report, args=(report, event.assoc)).start()
        return 0x0000, None

    def report(self, report: wire.CommitmentReport, assoc: Any = None, title: str = "ARCHIVE") -> int:
        """Send a report; returns the status of the answer, or -1."""
        time.sleep(0.1)
        if self.commits == "same":
            answer, _ = assoc.send_n_event_report(
                report.data_set(), report.event_type, wire.SOP_CLASS, wire.SOP_INSTANCE
            )
            return int(answer.Status)
        ae = AE(ae_title=title)
        ae.add_requested_context(wire.SOP_CLASS)
        role = build_role(wire.SOP_CLASS, scp_role=True)
        assoc = ae.associate("127.0.0.1", self.reverse_port, ae_title="SRNODE", ext_neg=[role])
        if not assoc.is_established:
            return -1
        answer, _ = assoc.send_n_event_report(report.data_set(), report.event_type, wire.SOP_CLASS, wire.SOP_INSTANCE)
        assoc.release()
        return int(answer.Status)

    def _requested(self, event: evt.Event) -> None:
        if self.rejects is not None:
            event.assoc.acse.send_reject(*self.rejects)
            event.assoc.kill()

    def _store(self, event: evt.Event) -> int | Dataset:
        status = self.script.pop(0) if self.script else 0x0000
        if event.file_meta.TransferSyntaxUID == self.cannot_use:
            return 0xC000
        if self.says:
            answer = Dataset()
            answer.Status = status
            for keyword, value in self.says.items():
                setattr(answer, keyword, value)
            return answer
        if status in (0x0000, 0xB000):
            ds = event.dataset
            ds.file_meta = event.file_meta
            self.received.append(ds)
        return status
