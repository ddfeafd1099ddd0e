"""An answer of many bytes, for as long as somebody takes them fast enough, and few of them at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from dicom_sr_node.domain.errors import Busy

_PIECE = 1 << 20  # bytes
_PATIENCE_S, _SLOWEST = 30.0, 20_000  # bytes in a second


class PixelStream(StreamingResponse):
    """Nothing is copied: whoever reads slowly holds a few pieces, and not the whole."""

    def __init__(self, pixels: memoryview, seats: threading.Semaphore, headers: Mapping[str, str]) -> None:
        """Takes one of the seats until all is sent. Raises Busy."""
        if not seats.acquire(blocking=False):
            raise Busy("Others load images just now: try again in a moment.")
        self._seats = seats
        length = {"Content-Length": str(len(pixels))}
        super().__init__(_pieces(pixels), media_type="application/octet-stream", headers={**headers, **length})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._seats.release()


def _pieces(pixels: memoryview) -> Iterator[bytes]:
    began = time.monotonic()
    for at in range(0, len(pixels), _PIECE):
        if time.monotonic() - began > _PATIENCE_S + at / _SLOWEST:
            return  # short of its length, which ends the connection
        yield bytes(pixels[at : at + _PIECE])
