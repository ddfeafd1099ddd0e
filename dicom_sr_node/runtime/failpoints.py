"""Named points of the code where a test can make the node fail: `SRNODE_FAILPOINT=<point>:kill|raise|sleep[:<nth>]`.

Refused unless `SRNODE_FAILPOINTS=enabled` says that this is meant. A process that is started again is not armed again.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from dataclasses import dataclass

from dicom_sr_node.domain.errors import ConfigRefused

VARIABLE, ENABLED = "SRNODE_FAILPOINT", "SRNODE_FAILPOINTS"
POINTS = (
    "in.written",  # received bytes are synced in tmp
    "in.renamed",  # and stand under their name
    "in.committed",  # the row is committed, the sender has no answer yet
    "work.claimed",
    "outbox.written",
    "outbox.renamed",
    "work.committed",
    "deliver.claimed",
    "deliver.sent",  # the peer has answered, the row says nothing of it yet
    "deliver.committed",
    "commitment.begun",  # the request is committed, not sent
    "purge.marked",  # the rows say so, the files are still there
)
ACTIONS = ("kill", "raise", "sleep")
_SLEEP_S = 3600


@dataclass
class _Armed:
    point: str
    action: str
    left: int  # hits until it happens


_armed: _Armed | None = None


def arm() -> None:
    """Read the environment at the start of a process. Raises ConfigRefused."""
    global _armed
    text = os.environ.get(VARIABLE, "")
    if not text:
        return
    if os.environ.get(ENABLED) != "enabled":
        raise ConfigRefused(
            f"{VARIABLE} makes this node fail on purpose: unset it, or set {ENABLED}=enabled for a test"
        )
    point, _, rest = text.partition(":")
    action, _, nth = rest.partition(":")
    if point not in POINTS or action not in ACTIONS or not (nth or "1").isdecimal():
        raise ConfigRefused(
            f"{VARIABLE} is {text!r}, not <point>:kill|raise|sleep[:<nth>]; points: {', '.join(POINTS)}"
        )
    _armed = _Armed(point, action, int(nth or 1))


def disarm_children() -> None:
    """Processes that are started from now on do not fail again."""
    os.environ.pop(VARIABLE, None)


def hit(point: str) -> None:
    """Fail here if that was asked for. `raise` is an OSError, as a failing disk gives it."""
    if _armed is None or _armed.point != point:
        return
    _armed.left -= 1
    if _armed.left != 0:
        return
    if _armed.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif _armed.action == "sleep":
        time.sleep(_SLEEP_S)
    else:
        raise OSError(errno.EIO, f"failpoint {point}")
