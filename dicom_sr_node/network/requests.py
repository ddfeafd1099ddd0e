"""An A-ASSOCIATE-RQ, looked at before pynetdicom does (PS3.8 9.3.2, PS3.7 D.3).

It believes the counts in it, decodes each of thousands of transfer syntaxes, and fails somewhere inside on what real
callers send: a title that ends in NUL, a letter that is not ASCII, an item that is new. `sound` says the same request
in few words that it understands, or why there can be no association.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pynetdicom.pdu import A_ASSOCIATE_RQ

_VERSION, _CALLED, _CALLING = slice(6, 8), slice(10, 26), slice(26, 42)
_FIXED = 74  # bytes before the first item, header included
_APPLICATION, _CONTEXT, _ABSTRACT, _TRANSFER, _USER = 0x10, 0x20, 0x30, 0x40, 0x50
_LENGTH, _CLASS_UID, _ASYNCHRONOUS, _ROLE, _VERSION_NAME = 0x51, 0x52, 0x53, 0x54, 0x55  # user information
_MOST_CONTEXTS, _MOST_SYNTAXES, _MOST_USER_ITEMS = 128, 64, 512
_NO_CLASS_UID = b"2.25.0"  # of a caller whose own is none
_UID_BYTES = frozenset(b"0123456789.")

Supported = Mapping[bytes, Sequence[bytes]]  # abstract syntax -> transfer syntaxes, the preferred one first

_ABORT = bytes.fromhex("07 00 00000004 00 00 02 06")  # service provider: invalid PDU parameter value, PS3.8 9.3.8
_REJECT = bytes.fromhex("03 00 00000004 00 01")  # permanent; source and reason follow, PS3.8 9.3.4
_OTHER_VERSION, _NO_CALLING, _NO_CALLED = _REJECT + b"\x02\x02", _REJECT + b"\x01\x03", _REJECT + b"\x01\x07"


class Malformed(ValueError):
    """No association can come of it. answer: the PDU that says so to the caller; calling_ae: who that is, if known."""

    def __init__(self, why: str, answer: bytes = _ABORT) -> None:
        super().__init__(why)
        self.answer, self.calling_ae = answer, ""


def titles(pdu: bytes | bytearray) -> tuple[str, str]:
    """The called and the calling AE title, as far as they are there: up to the first NUL, other signs as `?`."""
    called, calling = (_printable(pdu[place].split(b"\0")[0]).strip().decode("ascii") for place in (_CALLED, _CALLING))
    return called, calling


def sound(pdu: bytes, supported: Supported) -> bytearray:
    """A request with everything in it that matters, and nothing else. Raises Malformed.

    Of each presentation context it names the one transfer syntax that is accepted. Unknown items, and those that the
    node would not answer to, are left out.
    """
    try:
        return _sound(pdu, supported)
    except Malformed as error:
        error.calling_ae = titles(pdu)[1]
        raise


def _sound(pdu: bytes, supported: Supported) -> bytearray:
    if len(pdu) < _FIXED:
        raise Malformed("an A-ASSOCIATE-RQ that ends within its fixed part")
    if not pdu[_VERSION][1] & 1:  # its last bit says version 1
        raise Malformed(f"it speaks protocol version 0x{pdu[_VERSION].hex()} only", _OTHER_VERSION)
    request = bytearray(pdu[:_FIXED])
    request[_VERSION] = b"\x00\x01"
    called, calling = titles(pdu)
    if not called:
        raise Malformed("it names no called AE title", _NO_CALLED)
    if not calling:
        raise Malformed("it names no calling AE title", _NO_CALLING)
    request[_CALLED], request[_CALLING] = called.encode().ljust(16), calling.encode().ljust(16)
    numbers = set[int]()
    for kind, body in _items(pdu[_FIXED:]):
        if kind == _APPLICATION:
            request += _item(kind, body.rstrip(b"\0 "))
        elif kind == _CONTEXT:
            number, context = _context(body, supported)
            if number in numbers or len(numbers) == _MOST_CONTEXTS:
                raise Malformed("a presentation context whose number is used twice, or one too many")
            numbers.add(number)
            request += context
        elif kind == _USER:
            request += _item(kind, b"".join(_user_information(body, supported)))
    if not numbers:
        raise Malformed("no presentation context")
    request[2:6] = (len(request) - 6).to_bytes(4)
    _try_out(request)
    return request


def _context(body: bytes, supported: Supported) -> tuple[int, bytes]:
    if len(body) < 4 or body[0] % 2 == 0:
        raise Malformed("a presentation context whose number is even")
    abstract, proposed = list[bytes](), list[bytes]()
    for kind, uid in _items(body[4:]):
        if kind == _ABSTRACT:
            abstract.append(uid.rstrip(b"\0 "))
        elif kind == _TRANSFER:
            proposed.append(uid.rstrip(b"\0 "))
            if len(proposed) > _MOST_SYNTAXES:
                raise Malformed("too many transfer syntaxes")
    if len(abstract) != 1 or not proposed:
        raise Malformed("a presentation context without one abstract syntax and some transfer syntaxes")
    offered = set(proposed)
    syntax = next((uid for uid in supported.get(abstract[0], ()) if uid in offered), proposed[0])
    return body[0], _item(_CONTEXT, body[:4] + _item(_ABSTRACT, abstract[0]) + _item(_TRANSFER, syntax))


def _user_information(body: bytes, supported: Supported) -> Iterator[bytes]:
    seen = set[bytes]()
    for count, (kind, value) in enumerate(_items(body)):
        if count == _MOST_USER_ITEMS:
            raise Malformed("too many user information items")
        key = bytes([kind])  # one of each, but for roles: one for each class
        if kind == _ROLE:
            key = value[2 : 2 + int.from_bytes(value[:2])]
            if key not in supported or len(value) != 4 + len(key):
                continue
        elif kind in (_LENGTH, _ASYNCHRONOUS):
            if len(value) != 4:
                continue
        elif kind == _CLASS_UID:
            value = value.rstrip(b"\0 ")
            if not 0 < len(value) <= 64 or not _UID_BYTES.issuperset(value):
                value = _NO_CLASS_UID
        elif kind == _VERSION_NAME:
            value = _printable(value.split(b"\0")[0])[:16].strip()
            if not value:
                continue
        else:
            continue
        if key not in seen:
            seen.add(key)
            yield _item(kind, value)


def _try_out(request: bytearray) -> None:
    try:
        pdu = A_ASSOCIATE_RQ()
        pdu.decode(bytes(request))
        pdu.to_primitive()
    except Exception as error:  # whatever it is, it would end the association's thread
        raise Malformed(f"cannot be decoded: {type(error).__name__}") from error


def _printable(text: bytes | bytearray) -> bytes:
    return bytes(byte if 0x20 <= byte < 0x7F else ord("?") for byte in text)


def _item(kind: int, body: bytes) -> bytes:
    return bytes([kind, 0]) + len(body).to_bytes(2) + body


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
