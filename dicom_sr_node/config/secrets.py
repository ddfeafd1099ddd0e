"""What must be seen by nobody: passwords in addresses, and files that hold secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dicom_sr_node.config.settings import Settings

HIDDEN = "***"
_USER_INFO = re.compile(r"(\w://)[^\s'\"]*@")  # up to the last @: a password may hold anything
_WEBHOOK = re.compile(r"(\w+://[^/\s'\"]+)/[^\s'\"]+")  # whoever knows its path may write there
_OTHERS = 0o007


def hidden(key: str, text: str) -> str:
    """Words about a key's value without what is secret in them."""
    text = _USER_INFO.sub(rf"\1{HIDDEN}@", text)
    return _WEBHOOK.sub(rf"\1/{HIDDEN}", text) if "webhook" in key or "alarms" in key else text


def without_secrets(values: Mapping[str, Any], key: str = "") -> dict[str, Any]:
    """The same configuration, to be shown."""
    shown: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            shown[name] = without_secrets(value, f"{key}.{name}")
        else:
            shown[name] = hidden(f"{key}.{name}", value) if isinstance(value, str) else value
    return shown


def open_files(settings: Settings, path: Path | None) -> Iterator[str]:
    """One line for each file with a secret that others than its owner and group may read; path: the configuration."""
    files: dict[str, Path | None] = {
        "tls.private_key": settings.tls.private_key,
        "web.private_key": settings.web.private_key,
        **{f"dicomweb.{name}.token_file": section.token_file for name, section in settings.dicomweb.items()},
    }
    if settings.alarms.webhook or _USER_INFO.search(settings.database.url):
        files["this configuration"] = path
    for key, file in files.items():
        if file is not None and file.is_file() and file.stat().st_mode & _OTHERS:
            yield f"{key}: {file} holds a secret that everybody on this machine may read: chmod o= {file}"
