"""DICOM over TLS as PS3.15 B.12 has it (BCP 195): TLS 1.2 or newer, both sides show a certificate.

A certificate is bound to the AE title and the address that a peer has in the configuration: it names the peer's host,
or has the fingerprint that stands there.
"""

from __future__ import annotations

import hashlib
import ssl
from typing import Any

from dicom_sr_node.config.destinations import Peer
from dicom_sr_node.config.receiving import TlsSettings
from dicom_sr_node.domain.errors import ConfigRefused

# RFC 9325 4.2: ephemeral keys and authenticated encryption; TLS 1.3 has nothing else.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM"


def for_server(tls: TlsSettings) -> ssl.SSLContext:
    """For associations that come in. Raises ConfigRefused."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, tls)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def for_client(tls: TlsSettings, *, check_host: bool = True) -> ssl.SSLContext:
    """For connections that go out; a peer that is known by its fingerprint need not name its host.

    Raises ConfigRefused.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, tls)
    context.check_hostname = check_host
    return context


def is_tls(connection: Any) -> bool:
    """Whether a connection is encrypted."""
    return isinstance(connection, ssl.SSLSocket)


def is_certificate_of(connection: Any, peer: Peer) -> bool:
    """Whether the certificate that a connection showed is the one of a peer."""
    if not isinstance(connection, ssl.SSLSocket):
        return False
    der, certificate = connection.getpeercert(binary_form=True), connection.getpeercert()
    if der is None or not certificate:
        return False
    if peer.certificate_sha256:
        return hashlib.sha256(der).hexdigest() == peer.certificate_sha256
    names: Any = certificate.get("subjectAltName", ())
    return any(kind in ("DNS", "IP Address") and name.lower() == peer.host.lower() for kind, name in names)


def _context(protocol: int, tls: TlsSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION
    if tls.certificate is None:
        raise ConfigRefused("[tls]: there is no certificate")
    try:
        context.load_cert_chain(tls.certificate, tls.private_key)
        context.load_verify_locations(tls.authorities)
    except (OSError, ssl.SSLError) as error:
        files = f"{tls.certificate}, {tls.private_key}, {tls.authorities}"
        raise ConfigRefused(
            f"[tls]: the certificate, its key or the authorities cannot be used ({files}): {error}"
        ) from error
    return context


_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE", "BAD_RECORD_TYPE")
_REASONS = {
    **dict.fromkeys(_NO_TLS, "it does not speak TLS on a port for TLS"),
    "UNSUPPORTED_PROTOCOL": "it speaks only TLS that is too old",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it speaks only TLS that is too old",
    "NO_SHARED_CIPHER": "it knows no cipher that is safe",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it knows no cipher that is safe, or wants another certificate",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it shows no certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it wants a certificate of ours, and got none",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not know the authority that signed our certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it says that our certificate has expired",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it does not trust our certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it does not trust our certificate, or its name",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "our certificate is not meant for this",
}
_VERIFICATIONS = {  # of OpenSSL's X509_V_ERR_*
    9: "its certificate is not valid yet: is the clock right?",
    10: "its certificate has expired",
    18: "its certificate is signed by itself, and not in tls.authorities",
    19: "the authority that signed its certificate is not in tls.authorities",
    20: "the authority that signed its certificate is not in tls.authorities",
    21: "the authority that signed its certificate is not in tls.authorities",
    26: "its certificate is not meant for this",
    62: "its certificate is of another name than the host of the configuration",
    64: "its certificate is of another address than the host of the configuration",
}


def reason(error: ssl.SSLError) -> str:
    """Why there is no TLS with a peer, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFICATIONS.get(error.verify_code, f"its certificate is not good: {error.verify_message}")
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return "it ended the TLS handshake without a word"
    return _REASONS.get(error.reason or "", f"TLS failed: {(error.reason or type(error).__name__).lower()}")
