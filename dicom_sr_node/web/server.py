"""The role `web`: one process that answers browsers, programs and monitoring."""

from __future__ import annotations

import logging
import os
import sys
import threading
from threading import Event

import uvicorn

from dicom_sr_node.actions.accounts import setup_link
from dicom_sr_node.domain.errors import NodeError
from dicom_sr_node.runtime import log
from dicom_sr_node.web.base.context import AppContext
from dicom_sr_node.web.connections import ThrottledConnection
from dicom_sr_node.web.site import site

_log = log.get("web")
_END_S = 5.0
_NICE = 10  # who looks on waits for who receives


def serve(context: AppContext, stop: Event) -> None:
    """Until `stop` is set. Raises NodeError where the port is taken."""
    os.nice(_NICE)
    web = context.settings.web
    config = uvicorn.Config(
        site(context),
        http=type("Connections", (ThrottledConnection,), {"unlimited": web.proxies}),
        ws="none",
        host=web.host,
        port=web.port,
        ssl_certfile=web.certificate,
        ssl_keyfile=web.private_key,
        log_config=None,
        access_log=False,  # addresses of pages hold what was searched for
        server_header=False,
        date_header=False,
        proxy_headers=bool(web.proxies),
        forwarded_allow_ips=list(web.proxies),
        timeout_keep_alive=15,
        timeout_graceful_shutdown=int(_END_S),
    )
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # the role's own are kept
    thread = threading.Thread(target=_run, args=(server,), name="web", daemon=True)
    thread.start()
    while thread.is_alive() and not server.started and not stop.wait(0.05):
        pass
    if not thread.is_alive():
        raise NodeError(f"cannot listen on {web.host}:{web.port} (web.host, web.port, web.certificate)")
    _log.info("listening", extra={"url": web.url})
    if not context.store.accounts.any():
        print(
            f"\nOpen {setup_link(context.settings.web, context.store.accounts)}\nto make the first account.\n",
            file=sys.stderr,
        )
    while thread.is_alive() and not stop.wait(0.5):
        pass
    server.should_exit = True
    thread.join(2 * _END_S)
    context.lightbox.close()


def _run(server: uvicorn.Server) -> None:
    try:
        server.run()
    except SystemExit:  # uvicorn's word for a port that is taken
        return
