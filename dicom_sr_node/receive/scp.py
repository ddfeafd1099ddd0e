"""The receiver (C-ECHO and C-STORE SCP): 0x0000 only after the bytes are synced and the rows committed.

It judges nothing but identity: whether an image is upscaled is decided by the worker, so that a slow or broken
decoder can never cost a sender its acknowledgement.
"""

from __future__ import annotations

from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification
from sqlalchemy.exc import SQLAlchemyError

from dicom_sr_node import log
from dicom_sr_node.derive import identity
from dicom_sr_node.errors import NodeError, Unreadable
from dicom_sr_node.network import guard, syntaxes
from dicom_sr_node.network.status import CANNOT_UNDERSTAND, DATA_SET_DOES_NOT_MATCH, OUT_OF_RESOURCES, SUCCESS
from dicom_sr_node.pixels import header
from dicom_sr_node.receive.callers import may_send
from dicom_sr_node.records import Stored
from dicom_sr_node.settings import Settings
from dicom_sr_node.spool import Spool
from dicom_sr_node.store.instances import Instances

_log = log.get("receive")

REJECT_CALLER = (0x01, 0x01, 0x03)  # permanent, service user, calling AE title not recognised (PS3.8 9.3.4)


class Receiver:
    """Listens as soon as it is started; every association has a thread of its own."""

    def __init__(self, settings: Settings, spool: Spool, instances: Instances) -> None:
        self._settings, self._spool, self._instances = settings, spool, instances
        self._ae = self._entity()

    def start(self) -> None:
        """Adopt what an earlier process left, then listen. Raises NodeError when the port is taken."""
        self._spool.sweep()
        self._adopt()
        scp = self._settings.scp
        handlers = [
            guard.handler(scp.idle_timeout_s),
            (evt.EVT_REQUESTED, self._on_request),
            (evt.EVT_C_ECHO, lambda event: SUCCESS),
            (evt.EVT_C_STORE, self._on_store),
        ]
        try:
            self._ae.start_server((scp.host, scp.port), block=False, evt_handlers=handlers)
        except OSError as error:
            raise NodeError(f"cannot listen on {scp.host}:{scp.port} (scp.host, scp.port): {error}") from error
        _log.info("listening", extra={"ae_title": self._settings.node.ae_title, "host": scp.host, "port": scp.port})

    def stop(self) -> None:
        """Take no more associations, and end those that are open."""
        self._ae.shutdown()

    def _entity(self) -> AE:
        scp = self._settings.scp
        ae = AE(ae_title=self._settings.node.ae_title)
        ae.implementation_class_uid = identity.IMPLEMENTATION_CLASS_UID
        ae.implementation_version_name = identity.IMPLEMENTATION_VERSION
        ae.maximum_pdu_size = guard.MAX_PDU_BYTES
        ae.maximum_associations = scp.max_associations
        ae.require_called_aet = scp.require_called_ae_title
        ae.network_timeout = ae.dimse_timeout = ae.acse_timeout = scp.idle_timeout_s
        ae.add_supported_context(Verification)
        for uid in syntaxes.storage_classes(scp.accept):
            ae.add_supported_context(uid, syntaxes.ACCEPTED)
        return ae

    def _on_request(self, event: evt.Event) -> None:
        """Turn unknown callers away before anything is negotiated."""
        requestor = event.assoc.requestor
        title = requestor.primitive.calling_ae_title.strip()
        if self._settings.scp.require_known_callers and not may_send(title, requestor.address, self._settings.peers):
            _log.warning("caller refused", extra={"calling_ae": repr(title), "address": requestor.address})
            event.assoc.acse.send_reject(*REJECT_CALLER)
            event.assoc.kill()

    def _on_store(self, event: evt.Event) -> int:
        """One image. The status says what the sender may rely on."""
        try:
            return self._store(event)
        except Unreadable as error:
            _log.warning("image refused", extra={"status": "C000", "why": error})
            return CANNOT_UNDERSTAND
        except (OSError, SQLAlchemyError) as error:
            _log.error("image not stored", extra={"status": "A700", "why": f"{type(error).__name__}: {error}"})
            return OUT_OF_RESOURCES
        except Exception:  # a fault of ours must not read as a fault of the image: pynetdicom would answer 0xC211
            _log.exception("image not stored")
            return OUT_OF_RESOURCES

    def _store(self, event: evt.Event) -> int:
        request, syntax = event.request, str(event.context.transfer_syntax)
        sop_class_uid = header.check_uid(request.AffectedSOPClassUID, "Affected SOP Class UID")
        sop_instance_uid = header.check_uid(request.AffectedSOPInstanceUID, "Affected SOP Instance UID")
        preamble = _preamble(sop_class_uid, sop_instance_uid, syntax)
        stored = self._spool.keep("in", (preamble, event.encoded_dataset(include_meta=False)), hash_from=len(preamble))
        try:
            path = self._spool.path("in", stored.name)
            said, _ = header.read_identity(path)
        except Exception:
            self._spool.discard("in", stored.name)
            raise
        if (said.sop_class_uid, said.sop_instance_uid) != (sop_class_uid, sop_instance_uid):
            self._spool.discard("in", stored.name)
            return DATA_SET_DOES_NOT_MATCH
        # A commit that fails may yet have happened: the file stays, and the next start adopts or removes it.
        calling_ae = event.assoc.requestor.ae_title.strip()
        new = self._instances.receive(said, stored, transfer_syntax_uid=syntax, calling_ae=calling_ae)
        if new is None:
            self._spool.discard("in", stored.name)
        _log.info("received", extra={"image": new or "again", "bytes": stored.bytes})
        return SUCCESS

    def _adopt(self) -> None:
        """Take in files that were kept but not committed when an earlier process died; they were never acknowledged."""
        for name in self._spool.names("in") - self._instances.files():
            path = self._spool.path("in", name)
            try:
                said, syntax = header.read_identity(path)
                stored = Stored(name=name, sha256=header.data_set_sha256(path), bytes=path.stat().st_size)
                new = self._instances.receive(said, stored, transfer_syntax_uid=syntax, calling_ae="")
            except Unreadable as error:
                _log.warning("orphan removed", extra={"file": name, "why": error})
                new = None
            if new is None:
                self._spool.discard("in", name)
            else:
                _log.warning("orphan adopted", extra={"file": name, "image": new})


def _preamble(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """128 zeros and file meta information (PS3.10 7.1); the sender's own preamble never reaches the disk."""
    stream = DicomBytesIO()
    stream.write(b"\0" * 128 + b"DICM")
    meta = identity.file_meta(sop_class_uid, sop_instance_uid, transfer_syntax_uid)
    write_file_meta_info(stream, meta, enforce_standard=True)
    return stream.getvalue()
