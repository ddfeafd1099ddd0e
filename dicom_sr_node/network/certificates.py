"""The certificates of this node: their dates, and whether each has its key, before anybody is turned away for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from dicom_sr_node.config.settings import Settings

NOTICE = timedelta(days=30)  # so long before its end somebody is told


@dataclass(frozen=True)
class CertificateProblem:
    """Something that is wrong with a file. key: of the configuration; is_fatal: nothing works with it now."""

    key: str
    text: str
    remedy: str
    is_fatal: bool


def examine(settings: Settings, now: datetime) -> Iterator[CertificateProblem]:
    """All that is wrong with what the configuration names; now: with its time zone."""
    tls, web = settings.tls, settings.web
    for section, certificate, key in (
        ("tls", tls.certificate, tls.private_key),
        ("web", web.certificate, web.private_key),
    ):
        if certificate and key:
            yield from _own(section, certificate, key, now)
    if tls.authorities:
        yield from _dates("tls.authorities", tls.authorities, now)


def _own(section: str, certificate: Path, key: Path, now: datetime) -> Iterator[CertificateProblem]:
    problems = list(_dates(f"{section}.certificate", certificate, now))
    yield from problems
    try:
        private = load_pem_private_key(key.read_bytes(), None)
    except OSError as error:
        yield _unusable(f"{section}.private_key", key, error.strerror or type(error).__name__)
        return
    except (ValueError, TypeError) as error:  # TypeError: it has a password
        yield _unusable(
            f"{section}.private_key", key, f"no PEM private key without a password ({type(error).__name__})"
        )
        return
    if not any(problem.is_fatal for problem in problems):
        public = x509.load_pem_x509_certificates(certificate.read_bytes())[0].public_key()
        form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        if private.public_key().public_bytes(*form) != public.public_bytes(*form):
            text, remedy = f"{key} is not the key of {certificate}", "put both in place together"
            yield CertificateProblem(f"{section}.private_key", text, remedy, True)


def _dates(key: str, path: Path, now: datetime) -> Iterator[CertificateProblem]:
    """Of all certificates in a file; one that is over does not matter among authorities, where another may be meant."""
    try:
        chain = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        yield _unusable(key, path, error.strerror or type(error).__name__)
        return
    except ValueError:
        yield _unusable(key, path, "no PEM certificate")
        return
    begins = max(one.not_valid_before_utc for one in chain)
    ends = min(one.not_valid_after_utc for one in chain)
    if key == "tls.authorities":
        begins = min(one.not_valid_before_utc for one in chain)
        ends = min((one.not_valid_after_utc for one in chain if one.not_valid_after_utc > now), default=ends)
    if ends <= now:
        yield CertificateProblem(key, f"{path} has expired on {ends:%Y-%m-%d}", "renew it", True)
    elif begins > now:
        yield CertificateProblem(key, f"{path} is not valid before {begins:%Y-%m-%d}", "is the clock right?", True)
    elif ends < now + NOTICE:
        yield CertificateProblem(key, f"{path} ends on {ends:%Y-%m-%d}", "renew it, then `srnode reload`", False)


def _unusable(key: str, path: Path, why: str) -> CertificateProblem:
    return CertificateProblem(key, f"{path} cannot be used: {why}", "put a PEM file there that the node may read", True)
