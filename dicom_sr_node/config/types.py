"""The kinds of values that a configuration holds, and what all its sections have in common."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _ae_title(value: str) -> str:
    """PS3.5 6.2, VR AE: at most 16 characters of the default repertoire, no backslash, not only spaces."""
    title = value.strip()
    if not 1 <= len(title) <= 16 or not title.isascii() or not title.isprintable() or "\\" in title:
        raise ValueError("an AE title has 1 to 16 ASCII characters and no backslash")
    return title


AETitle = Annotated[str, AfterValidator(_ae_title)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
Label = Literal["burned", "overlay", "none"]
Scale = Literal["auto", 2, 4]
Days = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _window(value: str) -> str:
    """HH:MM-HH:MM, or nothing."""
    if value and not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d", value):
        raise ValueError('a window is "HH:MM-HH:MM", as "19:00-06:00"')
    return value


Window = Annotated[str, AfterValidator(_window)]


def _network(value: str) -> str:
    ipaddress.ip_network(value)
    return value


def address(value: str) -> str:
    """An IP address in its usual spelling. Raises ValueError."""
    return str(ipaddress.ip_address(value))


Network = Annotated[str, AfterValidator(_network)]
Fingerprint = Annotated[
    str, AfterValidator(lambda value: value.replace(":", "").lower()), Field(pattern="^([0-9a-fA-F:]{64,95})?$")
]


class Section(BaseModel):
    """One table of the configuration: frozen, and a key that it does not know is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, use_attribute_docstrings=True)
