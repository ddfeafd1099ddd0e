"""C-STORE statuses by name (PS3.4 B.2.3, PS3.7 C), and what the node does about each one that a peer answers."""

from __future__ import annotations

from dicom_sr_node.domain.errors import DeliveryError, PeerBusy, PeerDoubts, PeerRefused

SUCCESS = 0x0000
DUPLICATE = 0x0111
OUT_OF_RESOURCES = 0xA700
DATA_SET_DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000
NOT_AUTHORISED = 0x0124

ANSWERS = {  # of our own C-STORE SCP
    SUCCESS: "synced to the disk and committed; also what is not upscaled, and what came before",
    OUT_OF_RESOURCES: "it could not be stored now (disk full or failing, database away): send it again later",
    NOT_AUTHORISED: "this caller may echo or report, but not store",
    DATA_SET_DOES_NOT_MATCH: "SOP Class or Instance UID of the data set is not that of the request",
    CANNOT_UNDERSTAND: "no readable identity: a UID is missing or none, or the first elements cannot be parsed",
}
TEXTS = {
    0x0001: "requested optional attributes are not supported",
    0x0107: "attribute list error",
    0x0110: "processing failure",
    DUPLICATE: "duplicate SOP instance",
    0x0112: "no such SOP instance",
    0x0116: "attribute value out of range",
    0x0117: "invalid SOP instance",
    0x0122: "SOP class not supported",
    0x0124: "not authorised",
    0x0210: "duplicate invocation",
    0x0213: "resource limitation",
    0xB00E: "duplicate SOP instance",
    0xB000: "coercion of data elements",
    0xB006: "elements discarded",
    0xB007: "data set does not match SOP class",
}
_WARNINGS = {0x0001, 0x0107, 0x0116}  # and all Bxxx
ALREADY_STORED = {DUPLICATE, 0xB00E}  # our UIDs are deterministic: it is the same object. B00E: Azure's, in STOW-RS
_CANCEL, _PENDING = 0xFE00, (0xFF00, 0xFF01)  # no answers to a C-STORE


def text(status: int) -> str:
    """A status for people: number and meaning, by its class where it has none of its own (PS3.7 C)."""
    if status in TEXTS:
        meaning = TEXTS[status]
    elif status >> 8 == 0xA7:
        meaning = "out of resources"
    elif status >> 8 == 0xA9:
        meaning = "data set does not match SOP class"
    elif status >> 12 == 0xC:
        meaning = "cannot understand"
    elif status >> 12 == 0xB:
        meaning = "a warning"
    elif status >> 12 == 0xA or status >> 8 in (0x01, 0x02):
        meaning = "a failure"
    else:
        meaning = "success" if status == SUCCESS else "unknown status"
    return f"0x{status:04X} {meaning}"


def is_stored(status: int) -> bool:
    """Whether the peer has the object: success, every warning, and what it had before."""
    return status in (SUCCESS, *_WARNINGS, *ALREADY_STORED) or status >> 12 == 0xB


def error_for(status: int, comment: str) -> DeliveryError:
    """The failure that a status means; for statuses that are not `is_stored`. The comment is the peer's own words."""
    message = f"the peer answered {text(status)}"
    if status == 0x0213 or status >> 8 == 0xA7:
        return PeerBusy(message, comment)
    if status in (0x0110, 0x0210, _CANCEL, *_PENDING) or status >> 12 == 0xC:  # some answer these while all is away
        return PeerDoubts(message, comment)
    return PeerRefused(message, comment)
