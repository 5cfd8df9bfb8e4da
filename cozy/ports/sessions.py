"""Conversations as their owners see them: lists, titles, archives. Turns go through `Store`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from cozy.ports.store import Session
from cozy.turn import SessionId, UserId

SessionSort = Literal["last_message_at", "created_at", "title"]
Order = Literal["asc", "desc"]


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """Which sessions, in what order."""

    personality_id: str | None = None
    archived: bool | None = False
    """None: both."""
    sort: SessionSort = "last_message_at"
    """By `last_message_at` a session without messages counts by when it was made."""
    order: Order = "desc"


@dataclass(frozen=True, slots=True)
class SessionPage:
    sessions: Sequence[Session]
    total: int
    """Of all pages."""


@dataclass(frozen=True, slots=True)
class Words:
    """A message that no turn made: a welcome, or what was said in a voice call."""

    role: Literal["user", "assistant"]
    content: str
    created_at: datetime | None = None
    """None: now."""
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class UserStats:
    sessions: int
    messages: int
    tokens: int
    """Of every turn: they were paid for, also where it was said again or its session is deleted."""


class Sessions(Protocol):
    """Raises StorageError; a session of another user is NotFound, as one that does not exist."""

    async def create(
        self, user_id: UserId, personality_id: str, *, title: str | None = None, first: Sequence[Words] = ()
    ) -> Session:
        """With its first messages, in one transaction."""
        ...

    async def page(
        self, user_id: UserId, which: SessionFilter = SessionFilter(), *, limit: int = 20, offset: int = 0
    ) -> SessionPage: ...

    async def change(
        self,
        user_id: UserId,
        session_id: SessionId,
        *,
        title: str | None = None,
        archived: bool | None = None,
        only_if_title: Sequence[str | None] = (),
    ) -> Session:
        """The session as it is then; None leaves things as they are. With `only_if_title`, only
        where the title still is one of those; None among them: where there is none."""
        ...

    async def delete(self, user_id: UserId, session_id: SessionId) -> None:
        """Soft: the rows of the session and its messages stay, nobody sees them."""
        ...

    async def append(self, user_id: UserId, session_id: SessionId, words: Sequence[Words]) -> int:
        """Add messages at the end, all or none; gives how many. Each is a turn of its own."""
        ...

    async def stats(self, user_id: UserId) -> UserStats: ...
