"""Why a peer gave no answer to our A-ASSOCIATE-RQ, found out by another connection: TCP, TLS, and who speaks what."""

from __future__ import annotations

import socket
import ssl

from dicom_sr_node.config.destinations import Peer
from dicom_sr_node.domain.errors import ConfigRefused
from dicom_sr_node.network import tls
from dicom_sr_node.network.local_entity import LocalEntity

_LOOK_S = 3.0  # for each step
_ALERT_S = 0.5  # with TLS 1.3 a server says only after the handshake that it does not like our certificate


def why_silent(entity: LocalEntity, peer: Peer) -> str:
    """In words."""
    try:
        connection = socket.create_connection((peer.host, peer.port), min(_LOOK_S, entity.timeouts.connect_timeout_s))
    except TimeoutError:
        return "it does not answer: no TCP connection in time; is it running, and is there a firewall?"
    except OSError as error:
        return f"it does not answer: {error.strerror or error}; is it running, and is the port right?"
    with connection:
        connection.settimeout(_LOOK_S)
        why = _why_no_tls(connection, entity, peer) if peer.tls else _is_tls(connection)
    if why:
        return why
    waited = f"within {entity.timeouts.response_timeout_s:g} s (delivery.response_timeout_s)"
    return f"it takes connections, but did not answer the request for an association {waited}, or ended it"


def _why_no_tls(connection: socket.socket, entity: LocalEntity, peer: Peer) -> str:
    try:
        context = tls.for_client(entity.tls, check_host=not peer.certificate_sha256)
        with context.wrap_socket(connection, server_hostname=peer.host) as secure:
            secure.settimeout(_ALERT_S)
            secure.recv(1)
    except ConfigRefused as error:
        return str(error)
    except ssl.SSLError as error:
        return tls.reason(error)
    except TimeoutError:
        return ""
    except OSError:
        return "it ended the TLS handshake without a word: does it speak TLS on this port?"
    return ""


def _is_tls(connection: socket.socket) -> str:
    """Whether it answers a TLS client; whose certificate it shows does not matter, for nothing is sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    speaks_tls = "it speaks TLS on this port: set tls = true for this peer"
    try:
        context.wrap_socket(connection, server_hostname=None).close()
    except ssl.SSLError as error:
        return speaks_tls if "ALERT" in (error.reason or "") else ""
    except OSError:
        return ""
    return speaks_tls
