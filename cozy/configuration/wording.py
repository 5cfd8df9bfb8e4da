"""What a setting takes, and what is wrong with what it was given, in words of our own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le

from cozy.configuration.places import Key, shown_key
from cozy.configuration.secrets import REFERENCE, without_passwords
from cozy.errors import did_you_mean
from cozy.settings import Part, Settings

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

LONGEST_SHOWN = 40
"""Characters of a text that are shown."""
_BOUNDS = frozenset({"greater_than", "greater_than_equal", "less_than", "less_than_equal"})


def told(problem: ErrorDetails, written: Any) -> str:
    """What is wrong with a value; `written` is how the file has it, before `${NAME}` is replaced."""
    path = problem["loc"]
    if problem["type"] == "extra_forbidden":
        return f"no such key; {did_you_mean(str(path[-1]), _keys_beside(path)) or 'there are none here'}"
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"]) if "ctx" in problem else problem["msg"]
    annotation, metadata = _taken_at(path)
    bounds = _range(metadata)
    if problem["type"] == "missing":
        return f"has to be given: {_kind(annotation, path, written)}"
    if problem["type"] not in _BOUNDS:
        bounds = f"{_kind(annotation, path, written)} {bounds}".strip()
    return f"must be {bounds}, not {_shown(path, problem['input'], written)}"


def _taken_at(path: Key) -> tuple[Any, Sequence[Any]]:
    """The type of what stands there, and its bounds."""
    annotation: Any = Settings
    metadata: Sequence[Any] = ()
    for part in path:
        if isinstance(annotation, type) and issubclass(annotation, Part):
            field = annotation.model_fields[str(part)]
            annotation, metadata = _without_none(field.annotation), field.metadata
        else:  # a table of any names, or a list
            arguments = get_args(annotation)
            annotation, metadata = arguments[get_origin(annotation) is dict], ()
    return annotation, metadata


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, UnionType):
        return next(a for a in get_args(annotation) if a is not NoneType)
    return annotation


def _keys_beside(path: Key) -> list[str]:
    table, _ = _taken_at(path[:-1])
    return [name for name in table.model_fields if table is not Settings or name not in ("root", "file")]


def _kind(annotation: Any, path: Key, written: Any) -> str:
    origin = get_origin(annotation)
    if origin is Literal:
        return f"one of {', '.join(f'`{value}`' for value in get_args(annotation))}"
    if origin is tuple:
        example = f" such as `{json.dumps([written], ensure_ascii=False)}`" if _is_plain(written) else ""
        return f"a list{example}"
    if annotation is bool:
        return "`true` or `false`"
    if annotation is int:
        return "a whole number"
    if annotation is float:
        return "a number"
    if annotation is str or issubclass(annotation, PurePath):
        return "text in quotes"
    return f"a table, `[{shown_key(path)}]`"


def _is_plain(value: Any) -> bool:
    """Whether a text may be repeated as an example."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= LONGEST_SHOWN
        and not REFERENCE.search(value)
        and without_passwords(value) == value
    )


def _range(metadata: Sequence[Any]) -> str:
    """`between 0 and 65535`, `above 0, at most 60`, `at least 1`; empty where anything will do."""
    least = next((bound.ge for bound in metadata if isinstance(bound, Ge)), None)
    above = next((bound.gt for bound in metadata if isinstance(bound, Gt)), None)
    most = next((bound.le for bound in metadata if isinstance(bound, Le)), None)
    if least is not None and most is not None:
        return f"between {least} and {most}"
    words = [f"at least {least}"] if least is not None else []
    words += [f"above {above}"] if above is not None else []
    words += [f"at most {most}"] if most is not None else []
    return ", ".join(words)


def _shown(path: Key, given: Any, written: Any) -> str:
    """A value as a message may repeat it."""
    if isinstance(written, str) and (names := [found[1] for found in REFERENCE.finditer(written)]):
        return f"the value of `{'`, `'.join(names)}`"  # whatever the environment holds may be a secret
    if "headers" in path:
        return "`***`"
    match given:
        case bool():
            return f"`{str(given).lower()}`"
        case int() | float():
            return str(given)[:LONGEST_SHOWN]
        case str():
            shown = without_passwords(given)
            cut = shown if len(shown) <= LONGEST_SHOWN else shown[:LONGEST_SHOWN] + "…"
            return f"`{json.dumps(cut, ensure_ascii=False)}`"
        case Mapping():
            return "a table"
        case list():
            return "a list"
        case _:
            return "a date or a time"
