"""Who a user is, as facts under topics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from cozy.ports.memory import Exchange
from cozy.turn import UserId


@dataclass(frozen=True, slots=True)
class ProfileFact:
    """One fact; a user has at most one for each topic and sub-topic."""

    id: str
    topic: str
    """`basic_info`, `interest`, `work` …"""
    sub_topic: str
    """`name`, `city`, `food` …"""
    content: str
    updated_at: datetime
    """With a time zone."""


class Profiles(Protocol):
    """Raises EngineError."""

    async def facts(self, user_id: UserId, *, max_tokens: int | None = None) -> Sequence[ProfileFact]:
        """What is known, most telling first, at most about `max_tokens` of it; None: all."""
        ...

    async def learn(self, exchange: Exchange) -> int:
        """Take in what the exchange tells of its user; gives how many facts are new or changed.

        On return they are known. The same exchange twice is once, also where what it taught was forgotten in
        between.
        """
        ...

    async def edit(self, user_id: UserId, fact_id: str, content: str) -> None:
        """Put `content` in the fact's place. Raises NotFound, for another user's fact too, and
        EngineInvalidRequest where there is nothing in it, or too much."""
        ...

    async def forget(self, user_id: UserId, fact_id: str | None = None) -> int:
        """One fact (NotFound as for `edit`), or everything; gives how many went."""
        ...
