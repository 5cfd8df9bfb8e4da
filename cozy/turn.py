"""What was said, by whom, to which personality: the input of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, NewType
from uuid import UUID, uuid4

UserId = NewType("UserId", UUID)
SessionId = NewType("SessionId", UUID)
TurnId = NewType("TurnId", UUID)

Role = Literal["system", "user", "assistant", "tool"]
Channel = Literal["terminal", "http", "voice", "test"]
ClientSystem = Literal["append", "ignore", "reject"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that a model asks for; `arguments` is JSON text, exactly as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation, in the form that models read."""

    role: Role
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    """On a `tool` message: the call it answers."""
    reasoning: str | None = None
    """What a reasoning model thought before it spoke; some servers want it back beside tool calls."""
    parts: tuple[Mapping[str, Any], ...] = ()
    """Content parts beyond text (images), in OpenAI's form; `content` holds the text among them."""
    tokens: int | None = None
    """How many tokens the content is, where somebody has counted already."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One thing said to one personality, by one user, maybe in a session."""

    text: str
    user_id: UserId
    personality_id: str
    session_id: SessionId | None = None
    channel: Channel = "terminal"
    language: str | None = None
    """BCP 47, such as `zh-CN`; None: the personality's own."""
    history: tuple[Message, ...] | None = None
    """Earlier messages brought by the client; None: the session's stored ones are the history."""
    client_system: str | None = None
    """A client's own system message, placed beneath the personality's prompt."""
    parts: tuple[Mapping[str, Any], ...] = ()
    """Content parts beyond `text`, in OpenAI's form."""
    model: str | None = None
    """`provider/name` in place of the personality's model, where the interface allows it."""
    retry_of: TurnId | None = None
    """A stored turn that this one says again: its messages are replaced by this turn's."""
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Free facts about the request that templates may read."""
    id: TurnId = field(default_factory=lambda: TurnId(uuid4()))
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC).astimezone())
    """When it was said; templates are told the time in its time zone."""
