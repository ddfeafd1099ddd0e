"""Structured lines without patient data: `time LEVEL role event key=value ...`.

Values come from `extra={...}` and are ours: row ids, counts, our own messages. Nothing from a data set is logged.
"""

from __future__ import annotations

import logging
import sys
import warnings
from datetime import UTC, datetime

_OWN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        extra = " ".join(f"{key}={value}" for key, value in vars(record).items() if key not in _OWN)
        line = f"{at} {record.levelname} {record.name} {record.getMessage()} {extra}".rstrip()
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def start(level: int = logging.INFO) -> None:
    """Send the lines to standard error; other libraries only speak up when something is wrong."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line())
    logging.basicConfig(level=logging.ERROR, handlers=[handler], force=True)
    logging.getLogger("srnode").setLevel(level)
    for name in ("pydicom", "highdicom", "pynetdicom"):  # their messages carry values of the data set
        logging.getLogger(name).propagate = False
        logging.getLogger(name).addHandler(logging.NullHandler())
    warnings.filterwarnings("ignore", module=r"(pydicom|highdicom|pynetdicom|pylibjpeg)")
    warnings.filterwarnings("ignore", module=r"(openjpeg|libjpeg)")


def get(name: str) -> logging.Logger:
    """The logger of a role or module."""
    return logging.getLogger(f"srnode.{name}")
