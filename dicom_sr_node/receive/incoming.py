"""The data set of a C-STORE on its way from the network to the disk; it is never whole in memory."""

from __future__ import annotations

import errno
import threading
from typing import Any

from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pynetdicom.dimse_messages import C_STORE_RQ, DIMSEMessage

from dicom_sr_node.dicom import header, software
from dicom_sr_node.domain.errors import Unreadable
from dicom_sr_node.domain.records import Origin, Stored
from dicom_sr_node.network import guard
from dicom_sr_node.spool import Draft, Spool

_LOOK_EVERY = 16 << 20  # bytes


class Incoming(guard.Bounded):
    """Fragments go to a draft in the spool. What cannot be kept is remembered, and the rest of the message dropped.

    error: why there is nothing to keep: OSError of the disk, ConnectionAbortedError, or Unreadable.
    """

    def __init__(self, assoc: Any, message: DIMSEMessage, spool: Spool, most_bytes: int, reserve_mb: int) -> None:
        super().__init__(assoc, message)
        self._spool, self._most_bytes, self._reserve_mb = spool, most_bytes, reserve_mb
        self._bytes, self._look_at = 0, 0
        self._draft: Draft | None = None
        self._lock = threading.Lock()
        self.error: OSError | Unreadable | None = None

    def write(self, data: Any, /) -> int:
        """Add a fragment."""
        if not isinstance(self.message, C_STORE_RQ):
            return super().write(data)
        self._bytes += len(data)
        if self._bytes > self._most_bytes or not _is_request(self.message):
            self.drop()
            guard.cut(self.assoc)
            return len(data)
        if self.error is None:
            try:
                self._look_for_room()
                self._open().write(bytes(data))
            except (OSError, Unreadable) as error:
                self.error = error
                self.drop()
        return len(data)

    def keep(self) -> Stored:
        """The synced file. Raises OSError, Unreadable."""
        with self._lock:  # the connection's own thread drops what is open when the sender leaves
            if self.error is not None:
                raise self.error
            draft, self._draft = self._open(), None
        return draft.keep()

    @property
    def is_open(self) -> bool:
        """Whether there is a draft."""
        return self._draft is not None

    def drop(self) -> None:
        """Leave nothing behind, and nothing to keep."""
        with self._lock:
            draft, self._draft = self._draft, None
            if draft is not None:
                self.error = self.error or ConnectionAbortedError("the sender left")
        if draft is not None:
            draft.drop()

    def _look_for_room(self) -> None:
        """At the first byte and now and then: many senders at a time may fill the reserve. Raises OSError."""
        if self._bytes >= self._look_at:
            self._look_at = self._bytes + _LOOK_EVERY
            if full := self._spool.is_full(self._reserve_mb):
                raise OSError(errno.ENOSPC, full)

    def _open(self) -> Draft:
        if self._draft is None:
            preamble = _preamble(self.assoc, self.message)
            self._draft = self._spool.draft("in")
            self._draft.write(preamble, hashed=False)
        return self._draft


def _is_request(message: DIMSEMessage) -> bool:
    """Whether the command has all that a C-STORE-RQ must have (PS3.7 9.3.1.1); pynetdicom would not answer another."""
    required = ("MessageID", "Priority", "AffectedSOPClassUID", "AffectedSOPInstanceUID")
    return all(message.command_set.get(keyword) not in (None, "") for keyword in required)


def origin_of(assoc: Any) -> Origin:
    """Who calls whom."""
    requestor = assoc.requestor
    return Origin(calling_ae=requestor.ae_title.strip(), called_ae=requestor.primitive.called_ae_title.strip())


def _preamble(assoc: Any, message: DIMSEMessage) -> bytes:
    """128 zeros and file meta information (PS3.10 7.1); the sender's own preamble never reaches the disk."""
    command, context = message.command_set, assoc._accepted_cx.get(message.context_id)
    if context is None:
        raise Unreadable("no presentation context of this number was accepted")
    meta = software.file_meta(
        header.check_uid(command.get("AffectedSOPClassUID"), "Affected SOP Class UID"),
        header.check_uid(command.get("AffectedSOPInstanceUID"), "Affected SOP Instance UID"),
        str(context.transfer_syntax[0]),
        origin_of(assoc),
    )
    stream = DicomBytesIO()
    stream.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(stream, meta, enforce_standard=True)
    return bytes(stream.getvalue())
