"""Events, traces and the like as plain values, ready for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from cozy.engine.trace import Trace
from cozy.events import Event

TRACE_FIELDS = (
    "turn_id",
    "personality",
    "model",
    "wall_s",
    "critical_path",
    "segments",
    "stages",
    "usage",
    "cost",
    "budget",
    "prompt",
    "prefixes",
)


def event_values(event: Event) -> dict[str, Any]:
    """An event's fields, with its name under `event`."""
    return {"event": type(event).__name__, **plain(event)}


def plain(value: Any) -> Any:
    """Objects for dataclasses and mappings, lists for sequences, text for ids and moments."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Trace():
            engines = [{"stage": stage, **plain(record)} for stage, record in value.engines]
            return {**{name: plain(getattr(value, name)) for name in TRACE_FIELDS}, "engines": engines}
        case UUID():
            return str(value)
        case datetime():
            return value.isoformat()
        case Mapping():
            return {str(k): plain(v) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        case list() | tuple() | set() | frozenset():
            return [plain(v) for v in value]  # pyright: ignore[reportUnknownVariableType]
        case _ if is_dataclass(value) and not isinstance(value, type):
            return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
        case _:
            return str(value)
