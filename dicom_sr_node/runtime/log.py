"""Structured lines without patient data: `time LEVEL role event key=value ...`.

Values come from `extra={...}` and are ours: row ids, counts, our own messages. What others write may quote a data set,
so of their messages, of warnings and of exceptions only the kind and the place are logged, never the words.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
import warnings
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TextIO

_OWN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_OURS = "srnode"
_MOST_VALUE = 500  # characters


class _Line(logging.Formatter):
    """Also the filter: it prints nothing that it does not know to be ours."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        head = f"{at} {record.levelname} {record.name}"
        if record.name.partition(".")[0] != _OURS:
            head = f"{head} message withheld from={Path(record.pathname).name}:{record.lineno}"
            return f"{head} {_error(record)}".rstrip()
        extra = " ".join(f"{key}={_value(value)}" for key, value in vars(record).items() if key not in _OWN)
        return " ".join(part for part in (head, record.getMessage(), extra, _error(record)) if part)


def _value(value: object) -> str:
    """One line, whatever it is."""
    return "".join(c if c.isprintable() else "?" for c in str(value)[:_MOST_VALUE])


def _error(record: logging.LogRecord) -> str:
    return f"error={kind_of(record.exc_info[1])}" if record.exc_info and record.exc_info[1] else ""


def kind_of(error: BaseException) -> str:
    """What kind of error it is, and where it was raised; of the system's errors also their words."""
    kind = type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        kind += f" ({error.strerror})"
    where = traceback.extract_tb(error.__traceback__)
    return f"{kind} at {Path(where[-1].filename).name}:{where[-1].lineno}" if where else kind


def start(level: int = logging.INFO) -> None:
    """Send the lines to standard error; other libraries only speak up when something is wrong."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line())
    logging.basicConfig(level=logging.ERROR, handlers=[handler], force=True)
    logging.getLogger(_OURS).setLevel(level)
    logging.raiseExceptions = False  # a line that cannot be written would be printed with its arguments
    for name in ("pydicom", "highdicom", "pynetdicom"):  # they tell of every broken connection
        logging.getLogger(name).propagate = False
        logging.getLogger(name).addHandler(logging.NullHandler())
    warnings.showwarning = _warned
    sys.excepthook = _uncaught
    threading.excepthook = lambda arguments: _uncaught(
        arguments.exc_type, arguments.exc_value or arguments.exc_type(), arguments.exc_traceback
    )


def _warned(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    where = f"{Path(filename).name}:{lineno}"
    get("warning").debug("warning withheld", extra={"kind": category.__name__, "place": where})


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    get("uncaught").critical("ended by an error", extra={"error": kind_of(error.with_traceback(trace))})


def get(name: str) -> logging.Logger:
    """The logger of a role or module."""
    return logging.getLogger(f"{_OURS}.{name}")
