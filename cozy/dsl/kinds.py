"""What fields a value has that a template can name, read from the annotations of the values themselves."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, NewType, Union, get_args, get_origin, get_type_hints

from cozy.stages.base import About
from cozy.stages.template_tree import ITEM
from cozy.stages.values import ContextPart, Intent, Snippet
from cozy.turn import Channel, Message


@dataclass(frozen=True, slots=True)
class Kind:
    """What is known of a value."""

    name: str
    """As messages call it: "a Generation", "text"."""
    fields: Mapping[str, Any] | None = None
    """Field → its annotation or Kind; None: nothing is known, so every field will do."""
    items: Any = None
    """The same for its items; None: it has none, or nothing is known of them."""
    values: frozenset[Hashable] | None = None
    """Every value that it can have; None: any."""
    shown: tuple[str, ...] = ()
    """The fields worth telling an author of."""


ANYTHING = Kind("a value")


def kind(annotation: Any) -> Kind:
    """What is known of the values of a type."""
    return annotation if isinstance(annotation, Kind) else _kind(annotation)


def member(of: Kind, field: str) -> Kind | None:
    """What a field (`[]`: an item) of such a value is; None: there is none of that name."""
    if of.fields is None:
        return ANYTHING
    if field == ITEM:
        return ANYTHING if of.items is None else kind(of.items)
    return kind(of.fields[field]) if field in of.fields else None


@cache
def _kind(annotation: Any) -> Kind:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, NewType):
        return kind(annotation.__supertype__)
    if origin is Literal:
        return replace(_class(str), values=frozenset(arguments))
    if origin in (Union, UnionType):
        either = _either([kind(a) for a in arguments if a is not NoneType])
        maybe_none = NoneType in arguments and either.values is not None
        return replace(either, values=(either.values or frozenset()) | {None}) if maybe_none else either
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return ANYTHING
    if isinstance(origin, type) and issubclass(origin, Iterable):
        return _list_of(arguments[0] if arguments else None)
    return _class(annotation) if isinstance(annotation, type) else ANYTHING


def _either(kinds: Sequence[Kind]) -> Kind:
    """A value that is one of several: it may have any of their fields."""
    if len(kinds) == 1:
        return kinds[0]
    if not kinds or any(k.fields is None for k in kinds):
        return ANYTHING
    return Kind(
        name=" or ".join(k.name for k in kinds),
        fields={name: annotation for k in reversed(kinds) for name, annotation in (k.fields or {}).items()},
        shown=tuple(dict.fromkeys(name for k in kinds for name in k.shown)),
    )


def _class(cls: type[Any]) -> Kind:
    public: dict[str, Any] = {name: Any for name in dir(cls) if not name.startswith("_")}
    if cls in _NAMES:
        return Kind(_NAMES[cls], public, shown=_TIME if cls is datetime else ())
    article = "an" if cls.__name__[0] in "AEIOU" else "a"
    name = f"{article} {cls.__name__}"
    try:
        annotations = {**get_type_hints(cls), **_properties(cls)}
        items = _items(cls)
    except NameError:  # a plugin's annotations that only type checkers can read
        return Kind(name)
    shown = tuple(n for n in annotations if n in public or n in getattr(cls, "__dataclass_fields__", ()))
    return Kind(name, {**public, **{n: annotations[n] for n in shown}}, items, shown=shown)


_NAMES: Mapping[type[Any], str] = {
    str: "text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    datetime: "a time",
}
_TIME = ("year", "month", "day", "hour", "minute", "strftime")


def _properties(cls: type[Any]) -> dict[str, Any]:
    found = inspect.getmembers(cls, lambda value: isinstance(value, property))
    return {name: get_type_hints(value.fget).get("return", Any) for name, value in found}


def _items(cls: type[Any]) -> Any:
    iterate = getattr(cls, "__iter__", None)
    arguments = get_args(get_type_hints(iterate).get("return")) if iterate else ()
    return arguments[0] if arguments else None


# -- what stands behind the names ----------------------------------------------------------------------


def context_part(section: str) -> Kind:
    """A ContextPart whose section is known, so that its items are too."""
    return replace(kind(ContextPart), items=Message if section == "history" else Snippet)


def intent_of(labels: Iterable[str]) -> Kind:
    """An Intent whose labels are known, so that one that cannot be is told of."""
    known, whole = frozenset(labels), kind(Intent)
    return replace(
        whole,
        fields={**(whole.fields or {}), "label": replace(kind(str), values=known)},
        values=frozenset(map(Intent, known)),  # none of which equals a text
    )


def _list_of(items: Any) -> Kind:
    return Kind("a list", {"count": Any, "index": Any}, items)


def _only(what: str, **own: Any) -> Kind:
    return Kind(what, own, shown=tuple(own))


VARIABLE_KINDS: Mapping[str, Kind] = {
    "personality": replace(kind(About), name="a personality"),
    "tools": _list_of(_only("a tool", name=str, description=str)),
    "language": kind(str),
    "channel": kind(Channel),
    "now": kind(datetime),
    "message": kind(str),
    "turn": _only("a turn", text=str, channel=Channel, language=str, metadata=Mapping[str, Any]),
    **{name: context_part(name) for name in ("history", "summary", "profile", "memory", "knowledge")},
}
"""What templates may name beside stages; a test holds this to `templates.VARIABLES`."""


def values_of(of: Kind, path: Sequence[str]) -> Collection[Hashable] | None:
    """Every value that the field at the end of `path` can have; None where it is not known."""
    here: Kind | None = of
    for field in path:
        here = member(here, field) if here else None
    return here.values if here else None
