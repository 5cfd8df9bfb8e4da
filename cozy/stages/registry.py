"""Stage types by the name that the YAML uses."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from cozy.stages.base import ExpressionText, StageSettings, TemplateText

S = TypeVar("S", bound=type)

Count = Literal["one", "optional", "many"]

_BUILT_IN = (
    "intent",
    "fetch_context",
    "budget",
    "render_prompt",
    "llm",
    "tool_loop",
    "persist",
    "writeback",
)
_classes: dict[str, type[Any]] = {}


@dataclass(frozen=True, slots=True)
class Need:
    """One parameter of a stage's `run`: the first of `types` that something gives is taken."""

    parameter: str
    types: tuple[tuple[type[Any], Count], ...]


@dataclass(frozen=True, slots=True)
class StageInfo:
    """What the compiler knows of a stage type."""

    name: str
    cls: type[Any]
    settings: type[StageSettings]
    needs: tuple[Need, ...]
    gives: type[Any]
    description: str
    has_empty: bool
    settles: bool
    queues: bool
    reads: bool
    renders: tuple[str, ...]
    """The personality's templates that `run` renders: `prompt`, `context`, `voice_prompt`."""
    templates: tuple[str, ...]
    """Its own settings that are templates."""
    expressions: tuple[str, ...]
    """Its own settings that may be expressions, `when` aside."""


def stage(name: str) -> Callable[[S], S]:
    """Register a stage class under the name that the YAML uses."""

    def register(cls: S) -> S:
        _classes[name] = cls
        return cls

    return register


@cache
def stage_types() -> Mapping[str, StageInfo]:
    """Every registered stage type, in the order of a pipeline."""
    for module in _BUILT_IN:
        import_module(f"cozy.stages.{module}")
    # by name, not as they were imported: a test or a plugin may have been first
    return {name: _info(name, _classes[name]) for name in dict.fromkeys((*_BUILT_IN, *_classes))}


def _info(name: str, cls: type[Any]) -> StageInfo:
    hints = get_type_hints(cls.run)
    gives = hints.pop("return")
    hints.pop("ctx", None)
    settings: type[StageSettings] = get_type_hints(cls)["settings"]
    templates, expressions = get_args(TemplateText)[1], get_args(ExpressionText)[1]
    return StageInfo(
        name=name,
        cls=cls,
        settings=settings,
        needs=tuple(Need(parameter, tuple(_alternatives(hint))) for parameter, hint in hints.items()),
        gives=gives,
        description=inspect.getdoc(cls) or "",
        has_empty=hasattr(cls, "empty"),
        settles=hasattr(cls, "settle"),
        queues=hasattr(cls, "jobs"),
        reads=getattr(cls, "reads", False),
        renders=getattr(cls, "renders", ()),
        templates=tuple(k for k, f in settings.model_fields.items() if templates in f.metadata),
        expressions=tuple(k for k, f in settings.model_fields.items() if expressions in f.metadata),
    )


def _alternatives(hint: Any) -> Sequence[tuple[type[Any], Count]]:
    if get_origin(hint) in (Union, types.UnionType):
        members = get_args(hint)
        found = [pair for m in members if m is not types.NoneType for pair in _alternatives(m)]
        if types.NoneType in members:
            return [(t, "optional" if count == "one" else count) for t, count in found]
        return found
    origin = get_origin(hint)
    if origin is not None and issubclass(origin, Sequence):
        return [(get_args(hint)[0], "many")]
    return [(hint, "one")]
