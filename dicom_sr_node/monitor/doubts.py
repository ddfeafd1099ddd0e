"""What is allowed in a configuration and yet probably not meant: said, but never refused."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from dicom_sr_node.config import secrets
from dicom_sr_node.config.settings import Settings
from dicom_sr_node.network import certificates
from dicom_sr_node.network.addresses import is_loopback


def doubts(settings: Settings, path: Path | None) -> Iterator[str]:
    """One line for each: key, what it is, what to do. path: of the configuration."""
    yield from hints(settings, path)
    for problem in certificates.examine(settings, datetime.now(UTC)):
        if not problem.is_fatal:
            yield f"{problem.key}: {problem.text}: {problem.remedy}"


def hints(settings: Settings, path: Path | None = None) -> Iterator[str]:
    """Those that are no matter of certificates."""
    yield from _twins(settings)
    yield from _tokens_in_the_clear(settings)
    yield from secrets.open_files(settings, path)


def _twins(settings: Settings) -> Iterator[str]:
    named = defaultdict[str, list[str]](list)
    for name, peer in settings.peers.items():
        named[peer.ae_title].append(name)
    for title, names in named.items():
        if len(names) > 1:
            yield (
                f"peers {', '.join(names)}: all are called {title}, and only their addresses tell them apart: "
                "give each an AE title of its own"
            )


def _tokens_in_the_clear(settings: Settings) -> Iterator[str]:
    for name, section in settings.dicomweb.items():
        url = urlsplit(section.url)
        if section.token_file and url.scheme == "http" and not is_loopback(url.hostname or ""):
            yield f"dicomweb.{name}.url: the token goes over the network in the clear: use https"
