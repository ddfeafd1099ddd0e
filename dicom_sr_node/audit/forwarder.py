"""The audit trail's way out: a file that grows, or syslog over TLS (RFC 5425, messages of RFC 5424)."""

from __future__ import annotations

import os
import socket
import ssl
from datetime import UTC, datetime
from pathlib import Path

from dicom_sr_node.config.people import AuditSettings
from dicom_sr_node.domain.errors import Fenced, PeerUnreachable
from dicom_sr_node.network import tls
from dicom_sr_node.network.local_entity import LocalEntity
from dicom_sr_node.runtime import log
from dicom_sr_node.store.audit_queue import AuditQueue

_log = log.get("deliver")
_LEASE_S = 300.0

FILE = "audit.log"
_SECURITY, _NOTICE = 10, 5  # facility and severity, PS3.15 A.6
_BOM = "\ufeff"  # RFC 5424 6.4: the message is UTF-8


class AuditForwarder:
    """Where messages go. `send` raises PeerUnreachable; a message may arrive twice, never out of order."""

    def __init__(self, audit: AuditSettings, entity: LocalEntity, folder: Path) -> None:
        """folder: where the file of the trail lies."""
        self._audit, self._entity, self._file = audit, entity, folder / FILE
        self._connection: socket.socket | None = None

    def send(self, message: str) -> None:
        """Durably, as far as we can tell."""
        try:
            if self._audit.to == "syslog":
                self._to_collector(message)
            else:
                _append(self._file, message)
        except OSError as error:
            self.close()
            raise PeerUnreachable(
                f"the audit trail cannot be written: {error.strerror or type(error).__name__}"
            ) from error

    def close(self) -> None:
        """Let go of the collector."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _to_collector(self, message: str) -> None:
        audit, limits = self._audit, self._entity.timeouts
        if self._connection is not None and _is_over(self._connection):
            self.close()
        if self._connection is None:
            plain = socket.create_connection((audit.host, audit.port), limits.connect_timeout_s)
            context = tls.for_client(self._entity.tls)
            self._connection = context.wrap_socket(plain, server_hostname=audit.host)
            self._connection.settimeout(limits.response_timeout_s)
        content = _syslog(self._entity.ae_title, message).encode()
        self._connection.sendall(f"{len(content)} ".encode() + content)


def forward_one(outbox: AuditQueue, trail: AuditForwarder, slot: str) -> bool:
    """One message; False if there is none, or it must wait."""
    queued = outbox.claim(slot, _LEASE_S)
    if queued is None:
        return False
    try:
        try:
            trail.send(queued.message)
        except PeerUnreachable as error:
            _log.error("audit message waits", extra={"why": error.message})
            outbox.fail(queued, str(error))
            return False
        outbox.done(queued)
    except Fenced as error:
        _log.warning("fenced", extra={"why": error})
    return True


def _is_over(connection: socket.socket) -> bool:
    """Whether the collector has hung up: what is written then would vanish, for RFC 5425 acknowledges nothing."""
    patience_s = connection.gettimeout()
    connection.setblocking(False)
    try:
        return not connection.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(patience_s)


def _syslog(ae_title: str, message: str) -> str:
    """RFC 5424: MSGID names the message's form as PS3.15 A.6 asks."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    priority = _SECURITY * 8 + _NOTICE
    name = ae_title.replace(" ", "_")
    return f"<{priority}>1 {at} {socket.gethostname()} {name} {os.getpid()} DICOM+RFC3881 - {_BOM}{message}"


def _append(path: Path, message: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{message}\n")
        file.flush()
        os.fsync(file.fileno())
