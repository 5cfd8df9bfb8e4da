"""JSON that fits a schema, made of a message: what the demo model fills in where it understands nothing."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

READ_CHARS = 1000
"""How much of a message goes into a text."""
_DEEPEST = 8
_MOST = 500
"""Values in one form: a schema may ask for more than anybody reads."""
_NUMBER = re.compile(r"(?<![\w.])-?\d{1,15}(?:\.\d{1,6})?(?!\w)", re.ASCII)


def filled(schema: Mapping[str, Any], words: str) -> Any:
    """A value for a JSON Schema: its first choice, a number of the message, or the message itself.

    Objects have what is required of them. Patterns, formats and conditions are not followed.
    """
    return _Form(schema, words).value(schema, _DEEPEST)


class _Form:
    """One form, as it is filled in."""

    def __init__(self, root: Mapping[str, Any], words: str) -> None:
        self._root, self._words, self._left = root, words[:READ_CHARS], _MOST
        found = _NUMBER.search(self._words)
        self._number = float(found[0]) if found else 0.0

    def value(self, asked: Any, depth: int) -> Any:
        schema = self._resolved(asked)
        self._left -= 1
        if depth <= 0 or self._left <= 0:
            return None
        if "const" in schema:
            return schema["const"]
        if choices := _list(schema, "enum"):
            return choices[0]
        match _kind(schema):
            case "object":
                properties = _mapping(schema.get("properties"))
                names = [name for name in _list(schema, "required") if isinstance(name, str)]
                return {name: self.value(properties.get(name), depth - 1) for name in names}
            case "array":
                least = min(max(int(_number(schema, "minItems", 1)), 0), _MOST)
                return [self.value(schema.get("items"), depth - 1) for _ in range(least)]
            case "integer" | "number" as kind:
                low, high = _number(schema, "minimum", -math.inf), _number(schema, "maximum", math.inf)
                number = min(max(self._number, low), high)
                return int(number) if kind == "integer" or number == int(number) else number
            case "boolean":
                return True
            case "null":
                return None
            case _:
                return self._words[: max(int(_number(schema, "maxLength", READ_CHARS)), 0)]

    def _resolved(self, asked: Any) -> Mapping[str, Any]:
        """The schema itself: what it refers to, or the first of several that will do."""
        schema = _mapping(asked)
        for _ in range(_DEEPEST):
            if isinstance(reference := schema.get("$ref"), str):
                schema = self._referred(reference)
            elif several := next(
                (s for key in ("anyOf", "oneOf", "allOf") if (s := _list(schema, key))), None
            ):
                schema = _mapping(several[0])
            else:
                return schema
        return {}

    def _referred(self, reference: str) -> Mapping[str, Any]:
        """What `#/$defs/name` stands for."""
        place = self._root
        for name in reference.removeprefix("#").split("/")[1:]:
            place = _mapping(place.get(name))
        return place


# a client's schema may hold anything, and nobody has checked it


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _list(schema: Mapping[str, Any], key: str) -> Sequence[Any]:
    value = schema.get(key)
    return cast("Sequence[Any]", value) if isinstance(value, list | tuple) else ()


def _number(schema: Mapping[str, Any], key: str, otherwise: float) -> float:
    value = schema.get(key)
    return value if isinstance(value, int | float) and abs(value) < 1e15 else otherwise


def _kind(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, str):
        return kind
    kinds = [k for k in _list(schema, "type") if k != "null"]
    return str(kinds[0]) if kinds else "object" if "properties" in schema else "string"
