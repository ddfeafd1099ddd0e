"""The first account of a dashboard."""

from __future__ import annotations

from dicom_sr_node.config.people import WebSettings
from dicom_sr_node.store.accounts import AccountRole, Accounts, PassKind

SETUP_HOURS = 24.0


def setup_link(web: WebSettings, accounts: Accounts) -> str:
    """A link that makes an administrator, once, within a day; one that was made before is worth nothing any more."""
    key = accounts.let_in("", AccountRole.ADMINISTRATOR, PassKind.SETUP, hours=SETUP_HOURS)
    return f"{web.url}/setup?key={key}"
