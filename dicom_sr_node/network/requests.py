"""An A-ASSOCIATE-RQ, looked at before pynetdicom does (PS3.8 9.3.2, PS3.7 D.3).

It believes the counts in it, and fails somewhere inside on items that lack what they must have.
"""

from __future__ import annotations

from collections.abc import Iterator

from pynetdicom.pdu import A_ASSOCIATE_RQ

_FIXED = 74  # bytes before the first item, header included
_CONTEXT, _ABSTRACT, _TRANSFER, _USER = 0x20, 0x30, 0x40, 0x50
_MOST_CONTEXTS, _MOST_SYNTAXES, _MOST_USER_ITEMS = 128, 64, 512


class Malformed(ValueError):
    """No association can come of it."""


def check(pdu: bytes) -> None:
    """Raises Malformed."""
    seen = set[int]()
    for kind, body in _items(pdu[_FIXED:]):
        if kind == _CONTEXT:
            _check_context(body, seen)
        elif kind == _USER and sum(1 for _ in _items(body)) > _MOST_USER_ITEMS:
            raise Malformed("too many user information items")
    if not seen:
        raise Malformed("no presentation context")
    try:
        request = A_ASSOCIATE_RQ()
        request.decode(pdu)
        request.to_primitive()
    except Exception as error:  # whatever it is, it would end the association's thread
        raise Malformed(f"cannot be decoded: {type(error).__name__}") from error


def _check_context(body: bytes, seen: set[int]) -> None:
    if len(body) < 4 or body[0] % 2 == 0 or body[0] in seen or len(seen) >= _MOST_CONTEXTS:
        raise Malformed("a presentation context whose number is even, used twice, or one too many")
    seen.add(body[0])
    kinds = [kind for kind, _ in _items(body[4:])]
    if kinds.count(_ABSTRACT) != 1 or not 1 <= kinds.count(_TRANSFER) <= _MOST_SYNTAXES:
        raise Malformed("a presentation context without one abstract syntax and some transfer syntaxes")


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, body) of each item."""
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at + 2 : at + 4])
        end = at + 4 + length
        if at + 4 > len(data) or end > len(data):
            raise Malformed("an item that is longer than the PDU")
        yield data[at], data[at + 4 : end]
        at = end
