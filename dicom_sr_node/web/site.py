"""The application: its rooms, and what every answer carries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import SplitResult, urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.openapi.utils import get_openapi
from fastapi.staticfiles import StaticFiles
from sqlalchemy.exc import SQLAlchemyError

from dicom_sr_node import __version__
from dicom_sr_node.domain.errors import Busy
from dicom_sr_node.runtime.throttle import turn
from dicom_sr_node.store.accounts import AccountRole
from dicom_sr_node.web.api.routes import api
from dicom_sr_node.web.auth.access import address_of, anybody, not_enough
from dicom_sr_node.web.base import problems
from dicom_sr_node.web.base.context import AppContext
from dicom_sr_node.web.base.rendering import HERE
from dicom_sr_node.web.monitoring import monitoring
from dicom_sr_node.web.pages.table import PAGES

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_MOST_BODY = 64 << 10  # bytes, of everything but a dropped file
_UPLOADS = ("/rules/try", "/api/v1/rules/try")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

Next = Callable[[Request], Awaitable[Response]]


def site(context: AppContext) -> FastAPI:
    """Everything that is served."""
    app = FastAPI(
        title="dicom_sr_node",
        version=__version__,
        description="What the dashboard shows and does, for programs. Errors are problem documents (RFC 9457).",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.context = context
    app.middleware("http")(_guarded)
    app.include_router(monitoring)
    app.include_router(api)
    for pages in PAGES:
        app.include_router(pages)
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    problems.install(app)
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]
    return app


def _document(app: FastAPI) -> dict[str, Any]:
    """FastAPI's, with the schema of problem documents."""
    if app.openapi_schema is None:
        app.openapi_schema = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        app.openapi_schema["components"]["schemas"]["Problem"] = problems.SCHEMA
    return app.openapi_schema


async def _guarded(request: Request, go_on: Next) -> Response:
    """Before and after every request: who may ask at all, how often, how much; and the headers of every answer."""
    try:
        response = await _answered(request, go_on)
    except SQLAlchemyError as error:
        response = problems.database(request, error)
    except Busy as error:
        response = problems.answer(request, 503, str(error), {"Retry-After": "2"})
    except Exception as error:
        response = problems.unforeseen(request, error)
    if request.url.scheme == "https":
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if not request.url.path.startswith("/static/"):
        response.headers.setdefault("Cache-Control", "no-store")
    return response


async def _answered(request: Request, go_on: Next) -> Response:
    if refusal := _refusal(request):
        return problems.answer(request, *refusal)
    if request.url.path not in _UPLOADS or request.method != "POST":
        return await go_on(request)
    person = await run_in_threadpool(anybody, request)  # before a large body is read
    if person is None:
        detail = "Log in, or give a token, before you send a file."
        return problems.answer(request, 401, detail, {"WWW-Authenticate": "Bearer"})
    if why := not_enough(person, AccountRole.OPERATOR):
        return problems.answer(request, 403, why)
    with turn(request.app.state.context.uploading):
        return await go_on(request)


def _refusal(request: Request) -> tuple[int, str, dict[str, str]] | None:
    context: AppContext = request.app.state.context
    host = _parts(f"//{request.headers.get('host', '')}").hostname or ""
    if not _is_ours(context, host):
        return 421, f"This node is not called {host[:100]!r}: see web.names in its configuration.", {}
    if wait_s := context.requests.wait_s(address_of(request)):
        return 429, f"Too many requests: wait {wait_s:.0f} seconds.", {"Retry-After": str(int(wait_s) + 1)}
    length = request.headers.get("content-length", "0")
    uploads = request.url.path in _UPLOADS
    most = (context.settings.scp.max_object_mb << 20) + _MOST_BODY if uploads else _MOST_BODY
    if "chunked" in request.headers.get("transfer-encoding", ""):
        return 411, "Say how long the body is: Content-Length.", {}
    if not length.isdecimal() or int(length) > most:
        return 413, f"The body is larger than {most} bytes.", {}
    origin = request.headers.get("origin")
    if request.method not in ("GET", "HEAD") and origin and _parts(origin).netloc != request.headers.get("host"):
        return 403, "This request comes from another site.", {}
    return None


def _parts(url: str) -> SplitResult:
    """Nothing of what is no address."""
    try:
        parts = urlsplit(url)
        _ = parts.hostname
    except ValueError:
        return SplitResult("", "", "", "", "")
    return parts


def _is_ours(context: AppContext, host: str) -> bool:
    """Against names of others that lead here (DNS rebinding)."""
    web = context.settings.web
    if web.names:
        return host in web.names or host in _LOOPBACK
    return host in _LOOPBACK or web.host not in _LOOPBACK
