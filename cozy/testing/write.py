"""A fixture as YAML, in the subset that fixtures are read in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from pydantic import BaseModel

from cozy.testing.fixture import Fixture

_PLAIN = re.compile(r"[A-Za-z0-9\u3400-\u9fff](?:[^\n:#]|:(?=\S)|(?<=\S)#)*", re.ASCII)
"""Texts that can stand without quotes: no line break, no `: `, no ` #`, and a harmless first character."""


def to_yaml(fixture: Fixture) -> str:
    """The text of a fixture's file: what was set, and nothing else."""
    return "".join(f"{line}\n" for line in _mapping(_data(fixture), 0))


def _data(model: BaseModel) -> dict[str, Any]:
    """What was set, in the order of the fields."""
    return {
        field.alias or name: _plain(getattr(model, name))
        for name, field in type(model).model_fields.items()
        if name in model.model_fields_set
    }


def _plain(value: Any) -> Any:
    match value:
        case BaseModel():
            return _data(value)
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
        case Mapping():
            mapping = cast("Mapping[Any, Any]", value)
            return {str(key): _plain(inner) for key, inner in mapping.items()}
        case str():
            return value
        case Sequence():
            return [_plain(item) for item in cast("Sequence[Any]", value)]
        case bool():
            return "true" if value else "false"
        case None:
            return ""
        case _:
            return str(value)


def _mapping(data: Mapping[str, Any], indent: int) -> Iterator[str]:
    for key, value in data.items():
        yield from _entry(f"{' ' * indent}{key}:", value, indent)


def _entry(head: str, value: Any, indent: int) -> Iterator[str]:
    """`head` with its value: behind it where it fits, else on the lines below."""
    match value:
        case {**inner} if inner:
            yield head
            yield from _mapping(cast("Mapping[str, Any]", inner), indent + 2)
        case [*items] if items:
            yield head
            for item in items:
                yield from _item(item, indent + 2)
        case str() if "\n" in value and _fits_block(value):
            yield f"{head} |{_chomping(value)}"
            for line in value.rstrip("\n").split("\n"):
                yield f"{' ' * (indent + 2)}{line}" if line else ""
        case str():
            yield f"{head} {_scalar(value)}" if value else head
        case _:
            yield head


def _item(item: Any, indent: int) -> Iterator[str]:
    dash = f"{' ' * indent}-"
    if isinstance(item, dict) and item:
        first, *rest = _mapping(cast("Mapping[str, Any]", item), indent + 2)
        yield f"{dash} {first.lstrip()}"
        yield from rest
    else:
        yield from _entry(dash, item, indent)


def _fits_block(text: str) -> bool:
    """Whether a block scalar gives the same text back."""
    lines = text.split("\n")
    return (
        not lines[0][:1].isspace()
        and bool(lines[0])
        and not text.endswith("\n\n")
        and all(line == line.rstrip() for line in lines)
        and all(c.isprintable() or c == "\n" for c in text)
    )


def _chomping(text: str) -> str:
    return "" if text.endswith("\n") else "-"


def _scalar(text: str) -> str:
    if _PLAIN.fullmatch(text) and text == text.strip() and text.isprintable():
        return text
    if text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    return '"' + "".join(_escaped(c) for c in text) + '"'


def _escaped(character: str) -> str:
    if character in '\\"':
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    named = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(character)
    return named or (
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    )
