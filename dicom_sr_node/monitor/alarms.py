"""Tells somebody, by webhook and mail, when something is wrong and when it is over. No message names a patient."""

from __future__ import annotations

import json
import smtplib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.message import EmailMessage
from functools import partial

import requests

from dicom_sr_node.config.settings import Settings
from dicom_sr_node.domain.records import Problem
from dicom_sr_node.runtime import log
from dicom_sr_node.store.alarms import AlarmLog

_log = log.get("alarms")
EVERY_S = 60.0
_PATIENCE_S = 20.0
_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class ProblemChange:
    """A trouble that has begun, goes on, or is over."""

    trouble: Problem
    is_over: bool

    def text(self, node: str) -> str:
        """One line."""
        if self.is_over:
            return f"{node}: over: {self.trouble.text}"
        return f"{node}: {self.trouble.text}: {self.trouble.remedy}"


def watch(settings: Settings, alarms: AlarmLog, look: Callable[[], Iterable[Problem]]) -> int:
    """Compare what is wrong with what was told, and tell what is new; what reaches nobody is told again next time.

    Returns how many were told.
    """
    if not settings.alarms.webhook and not settings.alarms.mail_to:
        return 0
    now = list(look())
    sent = 0
    for trouble in alarms.due(now, settings.alarms.repeat_hours * 3600):
        sent += _tell_and_note(settings, ProblemChange(trouble, False), partial(alarms.told, trouble))
    for trouble in alarms.over(now):
        sent += _tell_and_note(settings, ProblemChange(trouble, True), partial(alarms.forget, trouble))
    return sent


def _tell_and_note(settings: Settings, news: ProblemChange, note: Callable[[], None]) -> bool:
    try:
        send_alarm(settings, news)
    except (OSError, smtplib.SMTPException) as error:
        _log.error("alarm reached nobody", extra={"kind": news.trouble.kind, "why": type(error).__name__})
        return False
    note()
    _log.warning("alarm", extra={"kind": news.trouble.kind, "over": news.is_over, "text": news.trouble.text})
    return True


def send_alarm(settings: Settings, news: ProblemChange) -> None:
    """By all ways that are configured. Raises OSError (as requests does), SMTPException."""
    alarms, node = settings.alarms, settings.node.ae_title
    if alarms.webhook:
        trouble = news.trouble
        about: dict[str, str | bool] = {"node": node, "kind": trouble.kind, "subject": trouble.subject}
        about |= {"over": news.is_over, "text": news.text(node)}
        answer = requests.post(
            alarms.webhook, data=json.dumps(about), headers=_JSON, timeout=_PATIENCE_S, allow_redirects=False
        )
        answer.raise_for_status()
        if answer.status_code >= 300:  # nobody else is told what goes on here
            raise requests.HTTPError("it points elsewhere: put the final address into alarms.webhook", response=answer)
    if alarms.mail_to:
        mail = EmailMessage()
        mail["From"], mail["To"] = alarms.mail_from, ", ".join(alarms.mail_to)
        mail["Subject"] = news.text(node)[:200]
        mail.set_content(f"{news.text(node)}\n\n{settings.web.url}\n")
        with smtplib.SMTP(alarms.smtp_host, alarms.smtp_port, timeout=_PATIENCE_S) as server:
            server.send_message(mail)
