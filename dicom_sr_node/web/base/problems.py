"""What is answered when something is wrong: a page for people, a problem document (RFC 9457) for programs."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from dicom_sr_node.domain.errors import Busy, NodeError, NotFound, Unreadable
from dicom_sr_node.runtime import log
from dicom_sr_node.web.base.rendering import render

_log = log.get("web")
JSON = "application/problem+json"
API = "/api/"
SCHEMA = {
    "title": "Problem",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}


class LoginNeeded(Exception):
    """Nobody is logged in; the page that was wanted."""


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For the `responses` of a route."""
    content = {JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def install(app: FastAPI) -> None:
    """Every fault becomes an answer."""
    app.exception_handler(HTTPException)(_http)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(NotFound)(_not_found)
    app.exception_handler(Busy)(_busy)
    app.exception_handler(NodeError)(_refused)
    app.exception_handler(LoginNeeded)(_login)
    app.exception_handler(SQLAlchemyError)(database)


def answer(request: Request, status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """A page or a document."""
    title = HTTPStatus(status).phrase
    if request.url.path.startswith((API, "/health", "/metrics")):
        body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        return JSONResponse(body, status, headers, media_type=JSON)
    page = render(request, "problem.html", status=status, title=title, detail=detail)
    page.headers.update(headers or {})
    return page


def _http(request: Request, error: HTTPException) -> Response:
    return answer(request, error.status_code, str(error.detail), dict(error.headers or {}))


def _invalid(request: Request, error: RequestValidationError) -> Response:
    """Where each mistake is, and what it is; not the value, which may be anything."""
    mistakes = [f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors()]
    return answer(request, 422, "; ".join(mistakes)[:1000])


def _not_found(request: Request, error: NotFound) -> Response:
    return answer(request, 404, str(error))


def _busy(request: Request, error: Busy) -> Response:
    return answer(request, 503, str(error), {"Retry-After": "2"})


def _refused(request: Request, error: NodeError) -> Response:
    return answer(request, 400 if isinstance(error, Unreadable) else 409, str(error))


def _login(request: Request, error: LoginNeeded) -> Response:
    target = str(error)
    return RedirectResponse(f"/login?{urlencode({'to': target})}" if target != "/" else "/login", 303)


def unforeseen(request: Request, error: Exception) -> Response:
    """A fault of ours: in the log, without its words."""
    _log.error("not answered", extra={"why": log.kind_of(error)})
    return answer(request, 500, "The node has made a mistake; its log says where.")


def database(request: Request, error: SQLAlchemyError) -> Response:
    """It is away, or locked."""
    _log.error("database", extra={"why": log.kind_of(error)})
    return answer(request, 503, "The database does not answer: try again.", {"Retry-After": "5"})
