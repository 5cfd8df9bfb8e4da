"""Tools that a personality names, and their JSON Schemas compiled to checks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, NoReturn, Protocol, cast

from cozy.errors import ToolError, did_you_mean
from cozy.ports.tools import ToolSpec
from cozy.stages.base import Tool

MAX_ARGUMENTS = 256 * 1024
"""Characters of one call's arguments."""
_MAX_PROBLEMS = 5
_MAX_SHOWN = 60


def matching_tools(
    patterns: Sequence[str], specs: Sequence[ToolSpec]
) -> tuple[tuple[ToolSpec, ...], tuple[str, ...]]:
    """The tools that names or globs such as `mcp/weather/*` choose, and the patterns that choose none.

    In the order of the patterns, each tool once; a glob's tools in the order of `specs`. A star reaches over
    slashes too: `mcp/*` is every tool of every server.
    """
    chosen: dict[str, ToolSpec] = {}
    unknown: list[str] = []
    for pattern in patterns:
        found = [spec for spec in specs if spec.name == pattern] or [
            spec for spec in specs if fnmatchcase(spec.name, pattern)
        ]
        chosen |= {spec.name: spec for spec in found if spec.name not in chosen}
        if not found:
            unknown.append(pattern)
    return tuple(chosen.values()), tuple(unknown)


def compile_tools(specs: Sequence[ToolSpec]) -> tuple[Tool, ...]:
    """Each tool with a check of its arguments. Raises ToolError for a schema that is broken itself."""
    return tuple(Tool(spec, JsonArguments(spec.name, _validator(spec))) for spec in specs)


class Problem(Protocol):
    """What is used of jsonschema's errors, which carry no useful types."""

    absolute_path: Sequence[str | int]
    context: Sequence[Any] | None
    instance: Any
    message: str
    schema: Any
    validator: str | None
    validator_value: Any


class Validator(Protocol):
    """What is used of jsonschema's validators."""

    def iter_errors(self, instance: Any) -> Iterable[Problem]: ...


@dataclass(frozen=True, slots=True)
class JsonArguments:
    """The check of one tool's arguments against its JSON Schema."""

    tool: str
    validator: Validator

    def __call__(self, arguments: str) -> dict[str, Any]:
        """The arguments as an object; no text at all is an empty one.

        Raises ToolError with each thing that is wrong, for the model to mend.
        """
        value = self._parsed(arguments)
        told = self._problems(value)
        if not told:
            return value
        more = [f"and {len(told) - _MAX_PROBLEMS} more problems"] if len(told) > _MAX_PROBLEMS else []
        lines = "; ".join([*told[:_MAX_PROBLEMS], *more])
        raise ToolError(f"the arguments of `{self.tool}` do not fit: {lines}")

    def _problems(self, value: dict[str, Any]) -> list[str]:
        from referencing.exceptions import Unresolvable

        try:
            return list(
                dict.fromkeys(line for e in self.validator.iter_errors(value) for line in _explained(e))
            )
        except RecursionError:
            raise ToolError(f"the arguments of `{self.tool}` are nested too deeply") from None
        except Unresolvable as error:
            raise ToolError(f"the schema of tool `{self.tool}` is broken: no `{error.ref}`") from None

    def _parsed(self, arguments: str) -> dict[str, Any]:
        if len(arguments) > MAX_ARGUMENTS:
            raise ToolError(
                f"the arguments of `{self.tool}` have {len(arguments):,} characters, "
                f"at most {MAX_ARGUMENTS:,} are read"
            )
        if not arguments.strip():
            return {}
        try:
            value = json.loads(arguments, parse_constant=_not_json)
        except json.JSONDecodeError as error:
            at = _shown(arguments[max(0, error.pos - 20) : error.pos + 20])
            raise ToolError(
                f"the arguments of `{self.tool}` are not valid JSON: {error.msg} at line {error.lineno}, "
                f"column {error.colno}, near {at}"
            ) from None
        except ValueError as error:  # a constant that is not JSON, or a number of thousands of digits
            raise ToolError(
                f"the arguments of `{self.tool}` are not valid JSON: {_cut(str(error))}"
            ) from None
        except RecursionError:
            raise ToolError(f"the arguments of `{self.tool}` are nested too deeply") from None
        if ("\\u" in arguments or not arguments.isascii()) and not _encodable(value):
            raise ToolError(f"the arguments of `{self.tool}` hold half of a surrogate pair")
        if not isinstance(value, dict):
            raise ToolError(f"the arguments of `{self.tool}` must be a JSON object, not {_kind(value)}")
        return cast("dict[str, Any]", value)


def _not_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


def _encodable(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _validator(spec: ToolSpec) -> Validator:
    try:
        schema = json.dumps(spec.parameters, default=dict)
    except (TypeError, ValueError, RecursionError) as error:
        raise ToolError(f"the schema of tool `{spec.name}` is not JSON: {_cut(str(error))}") from None
    return _compiled(spec.name, schema)


@lru_cache(maxsize=1024)
def _compiled(tool: str, schema_json: str) -> Validator:
    """Checking a schema takes a millisecond, and hundreds of personalities name the same tools."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for
    from referencing.jsonschema import EMPTY_REGISTRY

    schema, registry = json.loads(schema_json), cast("Any", EMPTY_REGISTRY)
    broken = f"the schema of tool `{tool}` is broken"
    if not isinstance(schema.get("$schema", ""), str):
        raise ToolError(f"{broken}: `$schema` must be a string")
    draft: Any = validator_for(schema, default=Draft202012Validator)
    try:
        draft.check_schema(schema)
    except SchemaError as error:
        raise ToolError(f"{broken}: {_cut(error.message, 200)}") from None
    return draft(schema, registry=registry)  # an empty registry: references are never fetched


def _explained(error: Problem) -> Iterator[str]:
    """What is wrong, in a line that a model can act on; several where several names are wrong."""
    from jsonschema import exceptions

    best_match: Callable[[Sequence[Problem]], Problem] = cast("Any", exceptions).best_match
    # where none of several schemas fits, the nearest miss says most
    nearest = best_match([error]) if error.context else error
    where, instance, expected = _path(nearest.absolute_path), nearest.instance, nearest.validator_value
    keyword, schema = nearest.validator, nearest.schema
    if keyword == "required":
        for name in expected:
            if name not in instance:
                yield f"`{_inside(where, name)}` is missing{_type_of(schema, name)}"
    elif keyword == "additionalProperties" and expected is False:
        known = schema.get("properties", {})
        patterns: Sequence[str] = list(schema.get("patternProperties", {}))
        for name in instance:
            if name not in known and not any(re.search(pattern, name) for pattern in patterns):
                hint = did_you_mean(name, known)
                yield f"`{_inside(where, _cut(name))}` is unknown{f' ({hint})' if hint else ''}"
    elif keyword == "type":
        types = expected if isinstance(expected, str) else " or ".join(expected)
        yield f"{_named(where)} must be {types}, not {_what(instance)}"
    elif keyword == "enum":
        choices = _cut(", ".join(map(_shown, expected)), 300)
        yield f"{_named(where)} must be one of {choices}, not {_shown(instance)}"
    else:  # the library's own words, a long value in them cut to what shows which one it is
        message = nearest.message.replace(repr(instance), _shown(instance))
        yield f"{_named(where)}: {_cut(message, 200)}"


def _path(parts: Sequence[str | int]) -> str:
    path = ""
    for part in parts:
        path = f"{path}[{part}]" if isinstance(part, int) else _inside(path, _cut(part))
    return path


def _inside(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _named(path: str) -> str:
    return f"`{path}`" if path else "the object"


def _type_of(schema: Mapping[str, Any], name: str) -> str:
    described: Any = schema.get("properties", {}).get(name)
    kind = described.get("type") if isinstance(described, Mapping) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return f" ({kind})" if isinstance(kind, str) else ""


def _what(value: object) -> str:
    kind = _kind(value)
    return kind if kind == _shown(value) else f"{kind} {_shown(value)}"


def _shown(value: object) -> str:
    return _cut(json.dumps(value, ensure_ascii=False))


def _cut(text: str, length: int = _MAX_SHOWN) -> str:
    return text if len(text) <= length else text[:length] + "…"


def _kind(value: object) -> str:
    """JSON's name of a value's type."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"
