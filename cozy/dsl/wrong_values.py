"""What pydantic says of a value, in the words of authors."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, Protocol, get_args, get_origin

from pydantic import BaseModel, Tag
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from cozy.dsl.diagnostics import Diagnostic, Place, error
from cozy.errors import did_you_mean

KeyPath = tuple[str | int, ...]


class Locator(Protocol):
    """Knows where keys and values stand; a Document does."""

    def key(self, *path: str | int) -> Place:
        """The key at `path`; parts that are not there are passed over."""
        ...

    def value(self, *path: str | int) -> Place:
        """The value at `path`."""
        ...


@dataclass(frozen=True, slots=True)
class Wrong:
    """One of pydantic's errors, and the field that it is about."""

    kind: str
    path: KeyPath
    given: Any
    owner: type[BaseModel]
    """The model whose field it is."""
    field: FieldInfo | None
    field_key: str
    said: str
    of_key: bool
    """It is the key that is wrong, one that the author has chosen."""

    @staticmethod
    def of(model: type[BaseModel], details: ErrorDetails) -> Wrong:
        owner, field, field_key = model, None, ""
        path: KeyPath = ()
        within: type[BaseModel] | None = model
        is_key = False
        loc, kind = details["loc"], details["type"]
        of_key = loc[-1:] == ("[key]",) and kind != "extra_forbidden"
        for part in loc[:-1] if of_key else loc:
            if field and part in _tags(field):
                continue
            path = (*path, part)
            if is_key:  # of a mapping whose keys the author chooses
                is_key = False
                continue
            if within is not None:
                owner, field, field_key = within, fields_of(within).get(str(part)), str(part)
                within = _model_in(field.annotation) if field else None
                is_key = field is not None and get_origin(field.annotation) is dict
        return Wrong(kind, path, details["input"], owner, field, field_key, details["msg"], of_key)

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


def fields_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Its fields by the keys that authors write."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _parts(annotation: Any) -> Iterator[Any]:
    """A type and all that it is made of."""
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)


def _tags(field: FieldInfo) -> set[str]:
    """What pydantic calls the branches of a field that is one of several types; they are no keys."""
    return {part.tag for part in _parts(field.annotation) if isinstance(part, Tag)}


def _model_in(annotation: Any) -> type[BaseModel] | None:
    return next((p for p in _parts(annotation) if isinstance(p, type) and issubclass(p, BaseModel)), None)


def diagnostic(wrong: Wrong, written: KeyPath, locate: Locator, subject: str) -> Diagnostic:
    """What is wrong, in words; `written` is its path in the file."""
    key = next((part for part in reversed(wrong.path[:-1]) if isinstance(part, str)), None)
    owner = f"`{key}`" if key else subject
    if wrong.kind == "extra_forbidden":
        return _unknown_key(wrong, locate.key(*written), owner)
    if wrong.kind == "missing":
        place = locate.key(*written[:-1])
        known = ", ".join(f"`{word}`" for word in _words(wrong))
        hint = f"{wrong.about}: {known}" if known else wrong.about
        return error("CZ031", f"{wrong.label} is missing, {owner} needs one", place, hint)
    code, message, hint = _worded(wrong)
    has_value = wrong.given != "" and not wrong.of_key
    place = locate.value(*written) if has_value else locate.key(*written)
    return error(code, message, place, hint)


def _unknown_key(wrong: Wrong, place: Place, owner: str) -> Diagnostic:
    key = str(wrong.path[-1])
    odd = next((c for c in key if not c.isprintable() or c == "\u3000"), None)
    own = fields_of(wrong.owner)
    hint = did_you_mean(key, own)
    if odd:
        hint = f"a character in it does not show: U+{ord(odd):04X}"
    elif not get_close_matches(key, own, n=1, cutoff=0.6):
        inner = {name: home for home, field in own.items() for name in _keys_in(field)}
        near = get_close_matches(key, inner, n=1, cutoff=0.75)
        if near:
            which = "it" if near[0] == key else f"did you mean `{near[0]}`? it"
            hint = f"{which} belongs in `{inner[near[0]]}`, indented below it"
    return error("CZ030", f"{owner} has no key `{key}`", place, hint)


def _keys_in(field: FieldInfo) -> Mapping[str, Any]:
    model = _model_in(field.annotation)
    return fields_of(model) if model else {}


def _worded(wrong: Wrong) -> tuple[str, str, str | None]:
    """Code, message and hint for a value that is not what its field takes."""
    label, given = wrong.label, _shown(wrong.given)
    if wrong.of_key:
        why = _said(wrong) if str(wrong.given).strip() else "it needs a name"
        return "CZ037", f"a key of `{wrong.field_key}` cannot be {given}: {why}", wrong.about
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
            return "CZ033", f"{label} should be a whole number, not {given}", _number(wrong, int)
        case "float_parsing" | "float_type" | "finite_number":
            return "CZ033", f"{label} should be a number, not {given}", _number(wrong, float)
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
        case "too_short":
            return "CZ038", f"there is nothing below {label}", wrong.about
        case "pattern":
            hint = "as in `re` of Python; a sign that means itself stands behind a backslash: `\\?`"
            return "CZ112", f"{label} is no regular expression: {wrong.said}", hint
        case "string_too_long":
            most = _limit(wrong, "max_length")
            return "CZ037", f"{label} is longer than {most} characters", wrong.about
        case _ if isinstance(wrong.given, dict):
            return "CZ037", f"{label}: {_said(wrong)}", wrong.about
        case _:
            return "CZ037", f"{label} cannot be {given}: {_said(wrong)}", wrong.about


def _said(wrong: Wrong) -> str:
    said = wrong.said.removeprefix("Value error, ").removesuffix(".")
    return said[:1].lower() + said[1:]


def _shown(value: Any) -> str:
    match value:
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case _:
            text = " ".join(str(value).split())
            return f"`{text[:40]}…`" if len(text) > 41 else f"`{text}`"


def _field_parts(wrong: Wrong) -> list[Any]:
    return list(_parts(wrong.field.annotation)) if wrong.field else []


def _words(wrong: Wrong) -> list[str]:
    """The words that a field takes, where it takes only some."""
    return [str(word) for p in _field_parts(wrong) if get_origin(p) is Literal for word in get_args(p)]


def _keys_hint(wrong: Wrong) -> str:
    model = _model_in(wrong.field.annotation) if wrong.field else None
    if model is None:
        return "write `key: value` lines below it, indented"
    keys = fields_of(model)
    if isinstance(wrong.given, str) and "name" in keys:
        return f"write it on the line below, indented: `name: {wrong.given}`"
    listed = ", ".join(f"`{key}`" for key in keys)
    if wrong.kind in ("dict_type", "mapping_type"):
        return f"write `NAME:` lines below it, indented, each with keys of its own below that: {listed}"
    return f"write its keys on the lines below, indented: {listed}"


def _limit(wrong: Wrong, name: str) -> Any:
    """A bound that the field sets: `ge`, `gt`, `le`, `lt`, `max_length`, `pattern`."""
    if wrong.field is None:
        return None
    marks = [*wrong.field.metadata, *_field_parts(wrong)]
    marks += [inner for mark in marks if isinstance(mark, FieldInfo) for inner in mark.metadata]
    return next((found for mark in marks if (found := getattr(mark, name, None)) is not None), None)


def _number(wrong: Wrong, kind: type[int | float]) -> str | None:
    """The number that was probably meant: written with a comma, or with full-width digits."""
    text = unicodedata.normalize("NFKC", str(wrong.given)).replace(",", ".").strip()
    try:
        kind(text)
    except ValueError:
        return _range(wrong)
    return f"did you mean `{text}`?" if text != wrong.given else _range(wrong)


def _range(wrong: Wrong) -> str | None:
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


def _duration(wrong: Wrong) -> str:
    text = str(wrong.given).strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return f"did you mean `{text}s`, or `{text}ms`?"
    if hours := re.fullmatch(r"([0-9]+)\s*(h|hours?|小时)", text):
        return f"did you mean `{int(hours[1]) * 60}m`?"
    return "such as `500ms`, `2s` or `1m`"


def _matching(wrong: Wrong) -> str | None:
    """What was probably meant, where turning it into lower case and underscores makes it fit."""
    pattern = _limit(wrong, "pattern")
    plain = "".join(
        c for c in unicodedata.normalize("NFKD", str(wrong.given)) if not unicodedata.combining(c)
    )
    meant = re.sub(r"\W+", "_", plain, flags=re.ASCII).strip("_").lower()
    if pattern and re.search(pattern, meant):
        return f"did you mean `{meant}`?"
    return wrong.about
