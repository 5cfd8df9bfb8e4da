"""What a client asks, in whatever dialect it was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from cozy.errors import InvalidRequest
from cozy.turn import ClientTool, Message, Sampling, SessionId


@dataclass(frozen=True, slots=True)
class Ask:
    """A request for an answer, read and checked."""

    messages: tuple[Message, ...]
    """The conversation as the client tells it, without system messages."""
    system: str = ""
    """The client's own system messages."""
    model: str | None = None
    """As the client named it: a personality, or `provider/name`."""
    personality_id: str | None = None
    session: SessionId | Literal["new"] | None = None
    stream: bool = False
    include_usage: bool = False
    n: int = 1
    sampling: Sampling | None = None
    tools: tuple[ClientTool, ...] = ()
    tool_choice: str = "auto"
    parallel_tool_calls: bool | None = None
    allowed_tools: tuple[str, ...] | None = None
    personalized: bool = True
    language: str | None = None
    end_user: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    legacy_functions: bool = False
    """The client speaks of `functions`, and wants to be answered so."""


@dataclass(frozen=True, slots=True)
class Said:
    """A conversation cut into what was before, what the user says, and what followed it."""

    history: tuple[Message, ...]
    user: Message
    rounds: tuple[Message, ...] = ()
    results: tuple[Message, ...] = ()


def said(messages: Sequence[Message]) -> Said:
    """The last user message, what stands before it, and the rounds of tools behind it.

    Raises InvalidRequest where nobody has said anything.
    """
    last = next((i for i in range(len(messages) - 1, -1, -1) if messages[i].role == "user"), None)
    if last is None:
        raise InvalidRequest(
            "`messages`: there is no user message to answer", param="messages", hint="add one of role `user`"
        )
    behind = messages[last + 1 :]
    results = trailing_results(behind)
    rounds = tuple(behind[: len(behind) - len(results)])
    if results and not (rounds and rounds[-1].tool_calls):
        raise InvalidRequest(
            "`messages`: a `tool` message must follow an assistant message with `tool_calls`",
            param="messages",
        )
    return Said(tuple(messages[:last]), messages[last], rounds, results)


def trailing_results(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The `tool` messages at the end."""
    count = 0
    while count < len(messages) and messages[-1 - count].role == "tool":
        count += 1
    return tuple(messages[len(messages) - count :])


def session_named(name: str, param: str) -> SessionId | Literal["new"]:
    """A session's id as clients write it. Raises InvalidRequest."""
    if name == "new":
        return "new"
    try:
        return SessionId(UUID(name))
    except ValueError:
        raise InvalidRequest(
            f"`{param}` is not a session's id", param=param, hint="an id is a UUID; `new` makes a session"
        ) from None
