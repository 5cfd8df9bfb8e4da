"""What a user has told, in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from cozy.turn import Message, SessionId, TurnId, UserId


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a finished turn teaches from: the user's words and the answer."""

    turn_id: TurnId
    user_id: UserId
    session_id: SessionId | None
    personality_id: str
    model: str
    """`provider/name` of the model that answered; extraction uses it too."""
    messages: tuple[Message, ...]
    """User and assistant messages only, the user's first."""


@dataclass(frozen=True, slots=True)
class MemoryItem:
    """One thing remembered of a user."""

    id: str
    text: str
    created_at: datetime
    score: float | None = None
    """How well it fits the query, from 0 to 1; more is better; None in a listing."""


class Memories(Protocol):
    """Raises EngineError."""

    async def search(self, query: str, *, user_id: UserId, top_k: int) -> Sequence[MemoryItem]:
        """What fits the query best, best first, each once, `top_k` at most.

        An empty query gives the newest.
        """
        ...

    async def learn(self, exchange: Exchange) -> int:
        """Take in what the exchange tells of its user; gives how many memories are new. On return they can be
        found.

        The same exchange twice is once, also where what it taught was forgotten in between.
        """
        ...

    async def add(self, user_id: UserId, text: str) -> MemoryItem:
        """Remember one thing as it is said; what is known already stays the item that it is.

        Raises EngineInvalidRequest where there is nothing in it, or too much.
        """
        ...

    async def items(self, user_id: UserId) -> Sequence[MemoryItem]:
        """All of it, newest first."""
        ...

    async def edit(self, user_id: UserId, item_id: str, text: str) -> None:
        """Put `text` in the item's place. Raises NotFound, for another user's item too, and
        EngineInvalidRequest as `add` does."""
        ...

    async def forget(self, user_id: UserId, item_id: str | None = None) -> int:
        """One item (NotFound as for `edit`), or everything; gives how many went."""
        ...
