"""What looks on and is told: dashboard, alarms, audit trail."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from dicom_sr_node.config.types import Name, Port, Section, address


class WebSettings(Section):
    """The dashboard and the REST interface."""

    enabled: bool = True
    """`srnode serve` starts it; `srnode web` runs it alone."""
    host: Name = "127.0.0.1"
    """The address to listen on; elsewhere than on this machine set a certificate, too."""
    port: Port = 8085
    """Where browsers find it."""
    names: tuple[Name, ...] = ()
    """Host names by which browsers may call it; none: on loopback only its own, else any."""
    proxies: tuple[Annotated[str, AfterValidator(address)], ...] = ()
    """Addresses of reverse proxies, whose X-Forwarded-For is believed; else all callers count as one address."""
    certificate: Annotated[Path | None, Field(examples=["web.crt"])] = None
    """PEM: makes it https."""
    private_key: Annotated[Path | None, Field(examples=["web.key"])] = None
    """PEM."""
    session_hours: Annotated[float, Field(gt=0, le=24 * 31)] = 12
    """After so long somebody logs in again."""
    runs_dir: Annotated[Path | None, Field(examples=["runs"])] = None
    """Training runs whose curves are shown."""

    @model_validator(mode="after")
    def _whole(self) -> WebSettings:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key belong together")
        return self

    @property
    def url(self) -> str:
        """As somebody on this machine calls it."""
        host = self.names[0] if self.names else "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104
        return f"{'https' if self.certificate else 'http'}://{f'[{host}]' if ':' in host else host}:{self.port}"


class AlarmSettings(Section):
    """Who is told when something is wrong. No message names a patient."""

    webhook: str = ""
    """An http(s) address that gets a JSON document by POST."""
    mail_to: tuple[Name, ...] = ()
    """Addresses; needs smtp_host."""
    mail_from: str = "srnode@localhost"
    """The sender of the mail."""
    smtp_host: str = ""
    """The server that takes mail from this machine."""
    smtp_port: Port = 25
    """Where that server listens."""
    repeat_hours: Annotated[float, Field(gt=0)] = 24
    """As long as it goes on it is told again after so long."""

    @model_validator(mode="after")
    def _reachable(self) -> AlarmSettings:
        if self.mail_to and not self.smtp_host:
            raise ValueError("mail_to needs smtp_host: the server that takes mail from this machine")
        if self.webhook and not self.webhook.startswith(("http://", "https://")):
            raise ValueError("webhook is the http:// or https:// address that is told")
        return self


class AuditSettings(Section):
    """Where the audit trail (PS3.15 A.5) goes."""

    to: Literal["off", "file", "syslog"] = "off"
    """"file" (data_dir/audit.log) or "syslog" over TLS. The trail names patients."""
    host: str = ""
    """The collector."""
    port: Port = 6514
    """Where the collector listens."""

    @property
    def enabled(self) -> bool:
        """Whether there is a trail."""
        return self.to != "off"

    @model_validator(mode="after")
    def _reachable(self) -> AuditSettings:
        if self.to == "syslog" and not self.host:
            raise ValueError("syslog needs a host: the collector's name or address")
        return self
