"""Messages as rows of a session, and as JSON where no session keeps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import uuid5

from cozy.ports.store import StoredMessage, TurnRecord
from cozy.storage.tables import messages
from cozy.turn import Message, ToolCall

MESSAGE_COLUMNS = (
    messages.c.role,
    messages.c.content,
    messages.c.tool_calls,
    messages.c.tool_call_id,
    messages.c.reasoning,
    messages.c.parts,
    messages.c.tokens,
    messages.c.name,
)
ROW_COLUMNS = (
    messages.c.id,
    messages.c.session_id,
    messages.c.turn_id,
    messages.c.position,
    messages.c.metadata,
    messages.c.created_at,
)


def message_of(
    role: Any,
    content: str,
    tool_calls: Sequence[Mapping[str, str]] | None = None,
    tool_call_id: str | None = None,
    reasoning: str | None = None,
    parts: Sequence[Mapping[str, Any]] | None = None,
    tokens: int | None = None,
    name: str | None = None,
) -> Message:
    """The message of `MESSAGE_COLUMNS`, or of what `message_json` gave."""
    return Message(
        role,
        content,
        tuple(ToolCall(**call) for call in tool_calls) if tool_calls else (),
        tool_call_id,
        reasoning,
        tuple(parts) if parts else (),
        tokens,
        name,
    )


def message_json(message: Message) -> dict[str, Any]:
    """A message under the names of its columns."""
    return {
        "role": message.role,
        "content": message.content,
        "tool_calls": [asdict(call) for call in message.tool_calls] or None,
        "tool_call_id": message.tool_call_id,
        "reasoning": message.reasoning,
        "parts": [dict(part) for part in message.parts] or None,
        "tokens": message.tokens,
        "name": message.name,
    }


def stored_message(row: Sequence[Any]) -> StoredMessage:
    """The row of `MESSAGE_COLUMNS` and `ROW_COLUMNS`."""
    own = len(MESSAGE_COLUMNS)
    id_, session_id, turn_id, position, metadata, created_at = row[own:]
    return StoredMessage(id_, session_id, turn_id, position, message_of(*row[:own]), metadata, created_at)


def message_rows(record: TurnRecord, now: datetime) -> list[dict[str, Any]]:
    """One row a message, without its position. The id follows from the turn: twice written is once."""
    last = len(record.messages) - 1
    return [
        {
            "id": uuid5(record.turn_id, str(place)),
            "session_id": record.session_id,
            "user_id": record.user_id,
            "turn_id": record.turn_id,
            "status": record.status,
            "metadata": dict(record.metadata) if place == last else {},
            "created_at": now,
            **message_json(message),
        }
        for place, message in enumerate(record.messages)
    ]
