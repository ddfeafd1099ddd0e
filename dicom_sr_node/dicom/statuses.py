"""C-STORE statuses by name (PS3.4 B.2.3, PS3.7 C), and what the node does about each one that a peer answers."""

from __future__ import annotations

from dicom_sr_node.domain.errors import DeliveryError, PeerBusy, PeerDoubts, PeerRefused

SUCCESS = 0x0000
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
    0x0110: "processing failure",
    0x0111: "duplicate SOP instance",
    0x0112: "no such SOP instance",
    0x0117: "invalid SOP instance",
    0x0122: "SOP class not supported",
    0x0124: "not authorised",
    0x0210: "duplicate invocation",
    0x0213: "resource limitation",
    0xB000: "coercion of data elements",
    0xB006: "elements discarded",
    0xB007: "data set does not match SOP class",
}
_STORED = {0x0000, 0x0111, 0xB000, 0xB006, 0xB007}  # 0111: our UIDs are deterministic, so it is the same object


def text(status: int) -> str:
    """A status for people: number and meaning."""
    if status in TEXTS:
        meaning = TEXTS[status]
    elif status >> 8 == 0xA7:
        meaning = "out of resources"
    elif status >> 8 == 0xA9:
        meaning = "data set does not match SOP class"
    elif status >> 12 == 0xC:
        meaning = "cannot understand"
    else:
        meaning = "success" if status == SUCCESS else "unknown status"
    return f"0x{status:04X} {meaning}"


def is_stored(status: int) -> bool:
    """Whether the peer has the object."""
    return status in _STORED


def error_for(status: int, comment: str) -> DeliveryError:
    """The failure that a status means; for statuses that are not `is_stored`. The comment is the peer's own words."""
    message = f"the peer answered {text(status)}"
    if status == 0x0213 or status >> 8 == 0xA7:
        return PeerBusy(message, comment)
    if status in (0x0110, 0x0210) or status >> 12 == 0xC:  # some archives answer these while their database is away
        return PeerDoubts(message, comment)
    return PeerRefused(message, comment)
