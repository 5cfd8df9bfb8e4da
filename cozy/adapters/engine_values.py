"""Reading the JSON of engines outside: what has the wrong shape is an error of theirs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from cozy.adapters.engine_http import EngineHttp
from cozy.ports.memory import Exchange
from cozy.storage.schema import storable

T = TypeVar("T")

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
"""For what has no time."""


def field_of(http: EngineHttp, value: Any, name: str, kind: type[T]) -> T:
    """The field of this type. Raises EngineUnavailable."""
    found = cast("Mapping[str, Any]", value).get(name) if isinstance(value, Mapping) else None
    if not isinstance(found, kind):
        http.nonsense(f"answered without a usable `{name}`")
    return found


def text_of(http: EngineHttp, value: Any, name: str) -> str:
    """The text, without what nobody can store or send on. Raises EngineUnavailable."""
    return storable(field_of(http, value, name, str))


def list_of(http: EngineHttp, value: Any, name: str) -> list[Any]:
    """The list in this field. Raises EngineUnavailable."""
    return cast("list[Any]", field_of(http, value, name, list))


def records(http: EngineHttp, value: Any, name: str = "") -> list[dict[str, Any]]:
    """Objects in a list: the list itself, or the one in the field of this name. Raises EngineUnavailable."""
    if not name and not isinstance(value, list):
        http.nonsense("answered with no list")
    items = cast("list[Any]", value) if isinstance(value, list) else list_of(http, value, name)
    if not all(isinstance(item, dict) for item in items):
        http.nonsense("answered with a list of things that are no objects")
    return items


def moment(value: Any) -> datetime:
    """An ISO time in UTC, which it is in where it names no zone."""
    try:
        read = datetime.fromisoformat(value)
        return read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        return LONG_AGO


def exchange_messages(exchange: Exchange) -> list[dict[str, str]]:
    """What user and assistant said: other roles and empty messages are refused by the engines."""
    return [
        {"role": message.role, "content": message.content}
        for message in exchange.messages
        if message.role in ("user", "assistant") and message.content.strip()
    ]
