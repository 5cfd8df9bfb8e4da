"""Where sessions and messages are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

from cozy.turn import Message, RequestMark, SessionId, TurnId, UserId

TurnStatus = Literal["complete", "interrupted", "failed"]
JobKind = Literal["write", "erase"]


@dataclass(frozen=True, slots=True)
class Job:
    """Something to be done after the turn, kept in the same transaction as its messages.

    `id` follows from the turn and the target, so that a job written twice is one job.
    """

    id: UUID
    target: str
    """Who does it: `memory/NAME` or `profile/NAME`, with the engine's name in the configuration; or
    `summary`."""
    user_id: UserId
    payload: Mapping[str, Any]
    """JSON."""
    kind: JobKind = "write"
    """`write`: what the payload says; `erase`: forget the user."""


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """What a turn leaves: written whole or not at all."""

    turn_id: TurnId
    user_id: UserId
    session_id: SessionId | None
    """None: nothing is kept of the conversation, but its jobs are."""
    personality_id: str
    messages: tuple[Message, ...]
    """The user's message first, then the reply with its tool calls and their results. A turn that resumes
    another has no user's message: it begins with the results that the client has brought."""
    status: TurnStatus
    tokens: int
    metadata: Mapping[str, Any]
    """JSON, kept on the reply: model, usage, degradations, error."""
    jobs: tuple[Job, ...] = ()
    retry_of: TurnId | None = None
    request: RequestMark | None = None
    """Kept with the turn, so that its repetition is answered from `reply`."""
    reply: Mapping[str, Any] | None = None
    """JSON, what the client is told: `text`, `finish_reason`, `tool_calls` (each `id`, `name`, `arguments`),
    `usage` (the fields of `cozy.usage.Usage`), `model`, `error` (a code, or null), `degraded` (stages
    that went on without a value, each `stage`, `code`, `elapsed_ms`)."""
    said_at: datetime | None = None
    """When the user said it: nothing is kept of what was said before the user was erased. None: now."""
    pending: tuple[Message, ...] = ()
    """What stands in place of the message that the client is shown with its calls, where no session keeps
    it: rounds of ours before it, the message with all its calls, and results of ours."""


@dataclass(frozen=True, slots=True)
class Session:
    id: SessionId
    user_id: UserId
    personality_id: str
    title: str | None
    message_count: int
    total_tokens: int
    last_message_at: datetime | None
    created_at: datetime
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    updated_at: datetime | None = None
    archived_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredMessage:
    id: UUID
    session_id: SessionId
    turn_id: TurnId
    position: int
    """Order within the session, from 0."""
    message: Message
    metadata: Mapping[str, Any]
    created_at: datetime


class Store(Protocol):
    """Raises StorageError; a session of another user is NotFound, as one that does not exist."""

    async def user(self, username: str) -> UserId:
        """The id of a user, made on first sight; names that read alike are one, as at logins."""
        ...

    async def create_session(
        self, user_id: UserId, personality_id: str, *, title: str | None = None
    ) -> Session: ...

    async def session(self, user_id: UserId, session_id: SessionId) -> Session: ...

    async def sessions(self, user_id: UserId, *, limit: int = 20, offset: int = 0) -> Sequence[Session]:
        """Newest first."""
        ...

    async def rename_session(self, user_id: UserId, session_id: SessionId, title: str) -> None: ...

    async def delete_session(self, user_id: UserId, session_id: SessionId) -> None:
        """Soft: the rows stay, nobody sees them."""
        ...

    async def history(
        self,
        user_id: UserId,
        session_id: SessionId,
        *,
        limit: int,
        without: TurnId | None = None,
        before: TurnId | None = None,
    ) -> Sequence[Message]:
        """The last `limit` messages at most, oldest first, never starting between a call and its result.

        Failed and interrupted turns are in it: what the user said, and what was spoken. `without` leaves
        out the turn that is being said again, and those that it said again itself. `before` ends
        it ahead of the user's message that this turn belongs to: a turn that resumes another has none
        of its own.
        """
        ...

    async def messages(
        self, user_id: UserId, session_id: SessionId, *, limit: int | None = None
    ) -> Sequence[StoredMessage]:
        """The last `limit` messages, oldest first, as rows."""
        ...

    async def summary(self, user_id: UserId, session_id: SessionId) -> str:
        """What is kept of messages too old for the history; empty where nothing is."""
        ...

    async def save_turn(self, record: TurnRecord) -> None:
        """One transaction; on return it is on disk. The same turn twice is one turn."""
        ...
