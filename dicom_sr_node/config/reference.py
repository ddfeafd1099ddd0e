"""What can be configured, written from the types of the settings: an example file, and a page of the documentation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from dicom_sr_node.config.destinations import SECTIONS
from dicom_sr_node.config.settings import Settings, settings_type

_MADE = "Made by `srnode config {command}`"
_COMMENT_AT = 33  # column

Schema = Mapping[str, Any]


def example() -> str:
    """A TOML file with every key, its default and what it means; what has no default stands as a comment."""
    lines = [
        "# The configuration of the node, with every key and its default. " + _MADE.format(command="example") + ".",
        "# A key that does not exist here stops the start. SRNODE__SECTION__KEY in the environment outranks this file.",
    ]
    for name, section in _sections():
        lines += ["", _beside(f"[{name}]", section["description"])]
        for key, value in section["properties"].items():
            line = f"{key} = {_toml(_shown(value))}"
            lines.append(_beside(line if value.get("default") is not None else f"# {line}", value["description"]))
    for header, section in _tables():
        lines += ["", *(f"# {line}" for line in section["description"].splitlines() if line), f"# {header}"]
        for key, value in _keys(section):
            lines.append("# " + _beside(f"{key} = {_toml(_shown(value))}", value["description"]))
    return "\n".join(lines) + "\n"


def page() -> str:
    """Markdown: a table for each section of the configuration."""
    lines = [
        "# Every key of the configuration",
        "",
        _MADE.format(command="reference") + " from the code. `srnode config example` prints all of it as a file; "
        "`srnode config check` names mistakes with key and line;",
        "`srnode config show` prints what is in force. `SRNODE__SECTION__KEY` in the environment outranks the file.",
        "A key that does not exist stops the start (exit code 3). `srnode reload` takes up a change.",
    ]
    for header, section in (*((f"[{name}]", section) for name, section in _sections()), *_tables(named=False)):
        lines += _table(header, section)
    lines += _table("send_to: what may differ for one peer", _schema()["$defs"]["Target"])
    return "\n".join(lines) + "\n"


def _schema() -> Schema:
    return _schema_of(settings_type())


@cache
def _schema_of(settings: type[Settings]) -> Schema:
    return settings.model_json_schema()


def _sections() -> Iterator[tuple[str, Schema]]:
    """Those of which there is one each."""
    schema = _schema()
    for name, value in schema["properties"].items():
        if "$ref" in value:
            yield name, _referred(schema, value)


def _tables(*, named: bool = True) -> Iterator[tuple[str, Schema]]:
    """Those of which there may be many, with their TOML headers; named: as somebody might call them."""
    definitions = _schema()["$defs"]
    for table, kind in SECTIONS.items():
        yield f"[{table}.{kind.example_name if named else 'NAME'}]", definitions[kind.__name__]
    yield "[[rules]]", definitions["Rule"]


def _referred(schema: Schema, value: Schema) -> Schema:
    definition: Schema = schema["$defs"][value["$ref"].rpartition("/")[2]]
    return definition


def _keys(section: Schema) -> Iterator[tuple[str, Schema]]:
    """The keys of a section; those of a section inside it with a dot."""
    for key, value in section["properties"].items():
        if "$ref" in value:
            yield from ((f"{key}.{inner}", its) for inner, its in _referred(_schema(), value)["properties"].items())
        else:
            yield key, value


def _table(header: str, section: Schema) -> list[str]:
    rows = [
        f"| `{key}` | {_kind(value)} | {_default(key, value, section)} | {value['description']} |"
        for key, value in _keys(section)
    ]
    heading = ["", f"## {header}", "", section["description"], "", "| key | value | default | |", "|---|---|---|---|"]
    return [line.replace("<", "&lt;") for line in heading + rows]


def _default(key: str, value: Schema, section: Schema) -> str:
    if key in section.get("required", ()):
        return "must be given"
    default = value.get("default")
    return "" if default in (None, "", []) else f"`{_toml(default)}`"


def _kind(value: Schema) -> str:
    """What may stand there, in words."""
    if "anyOf" in value:
        return _kind(next(way for way in value["anyOf"] if way.get("type") != "null"))
    if "enum" in value:
        return " or ".join(f"`{_toml(word)}`" for word in value["enum"])
    if value.get("type") == "array":
        return f"list of: {_kind(value['items'])}"
    if "$ref" in value:
        return "a peer"
    if value.get("type") == "boolean":
        return "`true` or `false`"
    if value.get("format") == "path":
        return "path"
    return {"integer": "whole number", "number": "number", "string": "text"}[value["type"]] + _limits(value)


def _limits(value: Schema) -> str:
    low, above, high = (value.get(key) for key in ("minimum", "exclusiveMinimum", "maximum"))
    bounds = [f"from {low:g}"] if low is not None else [f"above {above:g}"] if above is not None else []
    bounds += [f"to {high:g}"] if high is not None else []
    return f", {' '.join(bounds)}" if bounds else ""


def _shown(value: Schema) -> Any:
    """An example if there is one, else the default."""
    return value["examples"][0] if "examples" in value else value.get("default", "...")


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(its)}" for key, its in value.items()) + " }"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return f"{value:g}" if isinstance(value, float) else json.dumps(value)


def _beside(line: str, comment: str) -> str:
    return f"{line.ljust(_COMMENT_AT - 1)} # {comment}"
