"""A certificate authority for the tests, made with openssl."""

from __future__ import annotations

import ssl
from pathlib import Path

from support.tools import need, run


class Authority:
    """A certificate authority, and what it signed."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.name = name
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9")
        # the last call made NAME.key and NAME.crt

    def _openssl(self, *arguments: str) -> None:
        own = ("-keyout", self.path("key"), "-out", self.path("crt"), "-subj", f"/CN={self.name}")
        run(need("openssl", "openssl"), *arguments, *own)

    def path(self, suffix: str) -> Path:
        return self.folder / f"{self.name}.{suffix}"

    def sign(self, name: str, san: str = "IP:127.0.0.1", days: int = 9) -> tuple[Path, Path]:
        """(certificate, key); negative days: expired."""
        key, request, certificate = (self.folder / f"{name}.{suffix}" for suffix in ("key", "csr", "crt"))
        openssl = need("openssl", "openssl")
        ec = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        run(openssl, "req", *ec, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        extension = self.folder / f"{name}.ext"
        extension.write_text(f"subjectAltName={san}\n")
        ca = ("-CA", self.path("crt"), "-CAkey", self.path("key"), "-CAcreateserial")
        run(
            openssl, "x509", "-req", "-in", request, *ca, "-out", certificate, "-days", str(days), "-extfile", extension
        )
        return certificate, key


def section(ca: Authority, port: int) -> str:
    certificate, key = ca.sign("node")
    files = f'certificate = "{certificate}"\nprivate_key = "{key}"\nauthorities = "{ca.path("crt")}"'
    return f"[tls]\n{files}\nport = {port}\n"


def context(ca: Authority, name: str | None) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(ca.path("crt"))
    if name:
        made.load_cert_chain(ca.folder / f"{name}.crt", ca.folder / f"{name}.key")
    return made
