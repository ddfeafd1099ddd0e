"""Reading the configuration: a TOML file and the environment into settings. A key that does not exist stops the start.

Precedence: `SRNODE__SECTION__KEY` in the environment, then the file, then the defaults.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from dicom_sr_node.config.destinations import SECTIONS
from dicom_sr_node.config.rules import Rule, Target
from dicom_sr_node.config.secrets import hidden
from dicom_sr_node.config.settings import Settings, settings_type
from dicom_sr_node.domain.errors import ConfigRefused

ENVIRONMENT_PREFIX = "SRNODE__"
CONFIG_VARIABLE = "SRNODE_CONFIG"


def load(path: Path | None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read the configuration; `path` None means `$SRNODE_CONFIG`, and without it the defaults. Raises ConfigRefused."""
    environment = os.environ if environment is None else environment
    if path is None and (named := environment.get(CONFIG_VARIABLE)):
        path = Path(named)
    text = _read(path) if path else ""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigRefused(f"{path}: not valid TOML: {error}") from None
    overrides = {name: text for name, text in environment.items() if name.startswith(ENVIRONMENT_PREFIX)}
    for name, value in overrides.items():
        _override(values, name, value)
    try:
        return settings_type()(**values)
    except ValidationError as error:
        mistakes = "\n".join(_mistakes(error, path, text, overrides))
        raise ConfigRefused(f"the configuration is refused:\n{mistakes}") from None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigRefused(f"{path}: there is no such configuration file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigRefused(f"{path}: cannot be read: {error}") from None


def _override(values: dict[str, Any], name: str, text: str) -> None:
    """Set `SECTION__KEY` in the plain values; TOML syntax where it parses, else a string."""
    *tables, last = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
    for table in tables:
        known = next((key for key in values if key.lower() == table), table)  # peers keep their case
        values = values.setdefault(known, {})
        if not isinstance(values, dict):
            raise ConfigRefused(f"environment {name}: {table} is not a section")
    try:
        values[last] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        values[last] = text


def _mistakes(error: ValidationError, path: Path | None, text: str, overrides: Mapping[str, str]) -> Iterator[str]:
    """One line for each mistake: key, value, what is wrong, and where it was written."""
    for mistake in error.errors():
        keys = [str(part) for part in mistake["loc"]]
        key = ".".join(keys)
        variable = ENVIRONMENT_PREFIX + "__".join(keys).upper()
        line = _line_of(text, mistake["loc"])
        if variable in overrides:
            where = f"environment {variable}"
        elif line:
            where = f"{path}, line {line}"
        else:
            where = str(path or "defaults")
        if mistake["type"] == "extra_forbidden":
            what = f"unknown key{_nearest(keys)}"
        else:
            what = f"{mistake['msg']}, not {mistake['input']!r}" if keys else mistake["msg"]
        what = hidden(key, what)
        yield f"  {key or 'rules'}: {what} ({where})"


def _nearest(keys: list[str]) -> str:
    """The known key that a misspelt one probably means."""
    model: type[BaseModel] = settings_type()
    tables: dict[str, type[BaseModel]] = {**SECTIONS, "rules": Rule, "send_to": Target}
    inner = iter(keys[:-1])
    for key in inner:
        if key in tables:
            model = tables[key]
            next(inner, None)  # a peer's name, the position of a rule or target
        else:
            model = model.model_fields[key].annotation  # type: ignore[assignment]
    close = get_close_matches(keys[-1], model.model_fields, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known keys: {', '.join(model.model_fields)}"


_TABLE = re.compile(r"^\s*\[\[?\s*([^\]]+?)\s*\]")


def _line_of(text: str, location: tuple[int | str, ...]) -> int | None:
    """The line of a TOML text on which a key stands, else that of its table; None if neither is found."""
    key = ".".join(part for part in location if isinstance(part, str))
    position = next((part for part in location if isinstance(part, int)), 0)  # of a table in an array of tables
    table, seen, table_line = "", dict[str, int](), None
    for number, line in enumerate(text.splitlines(), 1):
        if header := _TABLE.match(line):
            table = header[1].replace('"', "").replace(" ", "")
            seen[table] = seen.get(table, -1) + 1
            here = table
        else:
            here = line.partition("=")[0].strip().replace('"', "")
            here = f"{table}.{here}" if table else here
        if seen.get(table, 0) != position and table.partition(".")[0] == key.partition(".")[0]:
            continue
        if here == key:
            return number
        if key.startswith(f"{here}."):
            table_line = number
    return table_line
