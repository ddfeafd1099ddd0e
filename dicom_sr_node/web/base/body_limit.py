"""What may stand in a form: one file, a few short fields, and only text that a database can hold."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute

_MOST_FIELDS, _MOST_FIELD = 10, 8 << 10  # bytes
_FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


class BodyLimitRoute(APIRoute):
    """A route whose forms are read within these bounds."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Reads the form first; FastAPI then finds it read."""
        handle = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            if request.headers.get("content-type", "").startswith(_FORMS):
                form = await request.form(max_files=1, max_fields=_MOST_FIELDS, max_part_size=_MOST_FIELD)
                for key, value in form.multi_items():
                    if isinstance(value, str) and not _is_text(key + value):
                        raise HTTPException(400, "The form holds what is no text.")
            return await handle(request)

        return bounded


def _is_text(value: str) -> bool:
    """No half characters (which some character sets of a form give), no NUL."""
    return "\0" not in value and not any(0xD800 <= ord(c) < 0xE000 for c in value)
