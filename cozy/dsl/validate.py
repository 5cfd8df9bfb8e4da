"""Values → a model, or what is wrong with them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Generic, Literal, Protocol, TypeVar, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from cozy.dsl.diagnostics import Diagnostic, Place, error
from cozy.errors import did_you_mean

M = TypeVar("M", bound=BaseModel)
KeyPath = tuple[str | int, ...]

_STAND_IN = "unnamed"


class Locator(Protocol):
    """Knows where keys and values stand; a Document does."""

    def key(self, *path: str | int) -> Place:
        """The key at `path`; parts that are not there are passed over."""
        ...

    def value(self, *path: str | int) -> Place:
        """The value at `path`."""
        ...


@dataclass(frozen=True, slots=True)
class Validated(Generic[M]):
    """A model as far as it could be made, and what was wrong on the way."""

    value: M | None
    """Where some values were wrong: the model without them (a mistyped key read as the one that was meant),
    so that the rest can be checked in the same run. None where what is left makes no sense."""
    diagnostics: tuple[Diagnostic, ...] = ()
    left_out: frozenset[KeyPath] = frozenset()
    """The keys without which `value` was made."""

    @property
    def sound(self) -> bool:
        """Whether the model is what was written."""
        return not any(d.severity == "error" for d in self.diagnostics)


def validate(model: type[M], data: Mapping[str, Any], locate: Locator, subject: str) -> Validated[M]:
    """`data`, as text from YAML, as a `model`; `subject` is what messages call it: "a personality",
    "a `fetch_context` stage"."""
    try:
        return Validated(model.model_validate(data, by_alias=True, by_name=False))
    except ValidationError as wrong:
        errors = [_Wrong.of(model, e) for e in wrong.errors(include_url=False)]
    meant = {(*wrong.path[:-1], key) for wrong in errors if (key := _meant(wrong, errors))}
    diagnostics = tuple(
        _diagnostic(wrong, locate, subject)
        for wrong in errors
        if not (wrong.kind == "missing" and wrong.path in meant)  # it is there, mistyped
    )
    mended, left_out = _mended(data, errors)
    return Validated(_as_far_as(model, mended), diagnostics, left_out)


def _as_far_as(model: type[M], data: dict[str, Any]) -> M | None:
    """The model with a stand-in for each text that must be there."""
    for _ in range(2):
        try:
            return model.model_validate(data, by_alias=True, by_name=False)
        except ValidationError as wrong:
            for details in wrong.errors(include_url=False):
                holder = _holder(data, details["loc"])
                if details["type"] != "missing" or holder is None:
                    return None
                holder[str(details["loc"][-1])] = _STAND_IN
    return None


@dataclass(frozen=True, slots=True)
class _Wrong:
    """One of pydantic's errors, and the field that it is about."""

    kind: str
    path: KeyPath
    given: Any
    owner: type[BaseModel]
    """The model whose field it is."""
    field: FieldInfo | None
    field_key: str
    said: str

    @staticmethod
    def of(model: type[BaseModel], details: ErrorDetails) -> _Wrong:
        # a part in parentheses is a branch of a union, not a key
        path = tuple(part for part in details["loc"] if not str(part).startswith("("))
        owner, field, field_key = model, None, ""
        for part in path:
            inner = _model_in(field.annotation) if field else owner
            if inner is None:
                break
            owner, field, field_key = inner, _fields(inner).get(str(part)), str(part)
            if field is None:
                break
        return _Wrong(details["type"], path, details["input"], owner, field, field_key, details["msg"])

    @property
    def label(self) -> str:
        """The value, as messages call it."""
        keys = [part for part in self.path if isinstance(part, str)]
        name = f"`{keys[-1]}`" if keys else "this"
        last = self.path[-1] if self.path else None
        return f"item {last + 1} of {name}" if isinstance(last, int) else name

    @property
    def about(self) -> str | None:
        """What the field says of itself, to be used as a hint."""
        if self.field is None or not self.field.description:
            return None
        text = " ".join(self.field.description.split()).removesuffix(".")
        # an acronym keeps its capitals
        text = text if text[1:2].isupper() else text[0].lower() + text[1:]
        return f"`{self.field_key}`: {text}"


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Its fields by the keys that authors write."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _parts(annotation: Any) -> Iterator[Any]:
    """A type and all that it is made of."""
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    return next((p for p in _parts(annotation) if isinstance(p, type) and issubclass(p, BaseModel)), None)


# -- words ---------------------------------------------------------------------------------------------


def _diagnostic(wrong: _Wrong, locate: Locator, subject: str) -> Diagnostic:
    key = next((part for part in reversed(wrong.path[:-1]) if isinstance(part, str)), None)
    owner = f"`{key}`" if key else subject
    if wrong.kind == "extra_forbidden":
        return _unknown_key(wrong, locate, owner)
    if wrong.kind == "missing":
        place = locate.key(*wrong.path[:-1])
        known = ", ".join(f"`{word}`" for word in _words(wrong))
        hint = f"{wrong.about}: {known}" if known else wrong.about
        return error("CZ031", f"{wrong.label} is missing, {owner} needs one", place, hint)
    code, message, hint = _worded(wrong)
    place = locate.value(*wrong.path) if wrong.given != "" else locate.key(*wrong.path)
    return error(code, message, place, hint)


def _unknown_key(wrong: _Wrong, locate: Locator, owner: str) -> Diagnostic:
    key = str(wrong.path[-1])
    place = locate.key(*wrong.path)
    odd = next((c for c in key if not c.isprintable() or c == "\u3000"), None)
    homes = [name for name, field in _fields(wrong.owner).items() if key in _keys_in(field)]
    if odd:
        hint = f"a character in it does not show: U+{ord(odd):04X}"
    elif homes:
        hint = f"it belongs in `{homes[0]}`, indented below it"
    else:
        hint = did_you_mean(key, _fields(wrong.owner))
    return error("CZ030", f"{owner} has no key `{key}`", place, hint)


def _keys_in(field: FieldInfo) -> Mapping[str, Any]:
    model = _model_in(field.annotation)
    return _fields(model) if model else {}


def _worded(wrong: _Wrong) -> tuple[str, str, str | None]:
    """Code, message and hint for a value that is not what its field takes."""
    label, given = wrong.label, _shown(wrong.given)
    if str(wrong.given).lower() in {"null", "none", "~"}:
        return "CZ038", f"{label} cannot be {given}", "for no value, leave the key out"
    match wrong.kind:
        case "string_too_short":
            return "CZ038", f"{label} is empty", wrong.about
        case _ if wrong.given == "":
            return "CZ038", f"there is nothing behind {label}", wrong.about or "leave the key out"
        case "model_type" | "dict_type" | "mapping_type":
            return "CZ032", f"{label} should hold keys of its own, not {given}", _keys_hint(wrong)
        case "string_type":
            return "CZ032", f"{label} should be a text, not {given}", wrong.about
        case "tuple_type" | "list_type" | "set_type":
            return "CZ032", f"{label} should be a list, not {given}", "write one `- item` a line, indented"
        case "int_parsing" | "int_type" | "int_from_float" | "int_parsing_size":
            return "CZ033", f"{label} should be a whole number, not {given}", _range(wrong)
        case "float_parsing" | "float_type" | "finite_number":
            return "CZ033", f"{label} should be a number, not {given}", _range(wrong)
        case "bool_parsing" | "bool_type":
            return "CZ033", f"{label} should be `true` or `false`, not {given}", wrong.about
        case "literal_error" | "enum":
            return "CZ034", f"{label} cannot be {given}", did_you_mean(str(wrong.given), _words(wrong))
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            return "CZ035", f"{label} cannot be {given}", _range(wrong)
        case "duration":
            return "CZ036", f"{label} should be a number with a unit, not {given}", _duration(wrong)
        case "string_pattern_mismatch":
            return "CZ037", f"{label} cannot be {given}", _matching(wrong)
        case "string_too_long":
            most = _limit(wrong, "max_length")
            return "CZ037", f"{label} is longer than {most} characters", wrong.about
        case _:
            said = wrong.said.removeprefix("Value error, ").removesuffix(".")
            return "CZ037", f"{label} cannot be {given}: {said[:1].lower() + said[1:]}", wrong.about


def _shown(value: Any) -> str:
    match value:
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case _:
            text = " ".join(str(value).split())
            return f"`{text[:40]}…`" if len(text) > 41 else f"`{text}`"


def _field_parts(wrong: _Wrong) -> list[Any]:
    return list(_parts(wrong.field.annotation)) if wrong.field else []


def _words(wrong: _Wrong) -> list[str]:
    """The words that a field takes, where it takes only some."""
    return [str(word) for p in _field_parts(wrong) if get_origin(p) is Literal for word in get_args(p)]


def _keys_hint(wrong: _Wrong) -> str:
    model = _model_in(wrong.field.annotation) if wrong.field else None
    if model is None:
        return "write `key: value` lines below it, indented"
    keys = _fields(model)
    if isinstance(wrong.given, str) and "name" in keys:
        return f"write it on the line below, indented: `name: {wrong.given}`"
    return f"write its keys on the lines below, indented: {', '.join(f'`{key}`' for key in keys)}"


def _limit(wrong: _Wrong, name: str) -> Any:
    """A bound that the field sets: `ge`, `gt`, `le`, `lt`, `max_length`, `pattern`."""
    if wrong.field is None:
        return None
    marks = [*wrong.field.metadata, *_field_parts(wrong)]
    marks += [inner for mark in marks if isinstance(mark, FieldInfo) for inner in mark.metadata]
    return next((found for mark in marks if (found := getattr(mark, name, None)) is not None), None)


def _range(wrong: _Wrong) -> str | None:
    is_duration = wrong.field is not None and "duration" in [*wrong.field.metadata, *_field_parts(wrong)]
    low = _limit(wrong, "ge")
    above = _limit(wrong, "gt")
    high = _limit(wrong, "le")
    below = _limit(wrong, "lt")

    def number(value: float) -> str:
        return _with_unit(value) if is_duration else f"{value:g}"

    if low is not None and high is not None:
        return f"from {number(low)} to {number(high)}"
    parts = [
        word + number(bound)
        for word, bound in (
            ("at least ", low),
            ("more than ", above),
            ("at most ", high),
            ("less than ", below),
        )
        if bound is not None
    ]
    return " and ".join(parts) or wrong.about


def _with_unit(seconds: float) -> str:
    return f"{seconds / 60:g}m" if seconds >= 60 else f"{seconds:g}s"


def _duration(wrong: _Wrong) -> str:
    text = str(wrong.given).strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return f"did you mean `{text}s`, or `{text}ms`?"
    return "such as `500ms`, `2s` or `1m`"


def _matching(wrong: _Wrong) -> str | None:
    """What was probably meant, where turning it into lower case and underscores makes it fit."""
    pattern = _limit(wrong, "pattern")
    plain = "".join(
        c for c in unicodedata.normalize("NFKD", str(wrong.given)) if not unicodedata.combining(c)
    )
    meant = re.sub(r"\W+", "_", plain, flags=re.ASCII).strip("_").lower()
    if pattern and re.search(pattern, meant):
        return f"did you mean `{meant}`?"
    return wrong.about


# -- going on ------------------------------------------------------------------------------------------


def _mended(data: Mapping[str, Any], errors: Sequence[_Wrong]) -> tuple[dict[str, Any], frozenset[KeyPath]]:
    """The data without what was wrong, with mistyped keys set right; and what was left out."""
    mended = _copied(data)
    left_out: set[KeyPath] = set()
    for wrong in errors:
        path = wrong.path
        while path and isinstance(path[-1], int):
            path = path[:-1]  # a list with a wrong item is left out as a whole
        holder = _holder(mended, path)
        if holder is None:
            continue
        value = holder.pop(str(path[-1]), None)
        meant = _meant(wrong, errors)
        if meant and meant not in holder:
            holder[meant] = value
        elif wrong.kind != "missing":
            left_out.add(path)
            if wrong.field and wrong.field.annotation is str:
                holder[str(path[-1])] = _STAND_IN  # so that nobody is told that there is nothing
    return mended, frozenset(left_out)


def _meant(wrong: _Wrong, errors: Sequence[_Wrong]) -> str | None:
    """The key for which an unknown one was probably meant: one that is missing, before any other."""
    if wrong.kind != "extra_forbidden":
        return None
    beside = wrong.path[:-1]
    missing = [str(e.path[-1]) for e in errors if e.kind == "missing" and e.path[:-1] == beside]
    for known in (missing, _fields(wrong.owner)):
        near = get_close_matches(str(wrong.path[-1]), known, n=1, cutoff=0.6)
        if near:
            return near[0]
    return None


def _holder(data: dict[str, Any], path: KeyPath) -> dict[str, Any] | None:
    """The mapping that holds the last key of a path."""
    for part in path[:-1]:
        inner: Any = data.get(str(part))
        if not isinstance(inner, dict):
            return None
        data = cast("dict[str, Any]", inner)
    return data if path else None


def _copied(value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _copied(cast("Mapping[str, Any]", inner)) if isinstance(inner, Mapping) else inner
        for key, inner in value.items()
    }
