"""Requests that may come a second time, and what they were answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from cozy.ports.store import TurnStatus
from cozy.turn import Message, RequestMark, SessionId, TurnId, UserId


@dataclass(frozen=True, slots=True)
class KnownRequest:
    """A request that has been seen."""

    turn_id: TurnId
    session_id: SessionId | None
    body_hash: str
    state: Literal["running"] | TurnStatus
    reply: Mapping[str, Any] | None
    """As `TurnRecord.reply`; None while it runs."""
    leased_until: datetime | None


class Requests(Protocol):
    """Raises StorageError."""

    async def claim(
        self, user_id: UserId, mark: RequestMark, turn_id: TurnId, *, lease_s: float
    ) -> KnownRequest | None:
        """Begin the request of a key that the client named: None where it is ours to run now; else the one
        that has the key.

        One that failed, was interrupted, or whose lease has run out (its process is dead), is taken over by
        `turn_id`, if its body is the same: then the old one is given with its state `failed` or
        `interrupted`, and the new turn is to retry it. (`KnownRequest.turn_id` is the old turn's.)
        """
        ...

    async def renew(self, user_id: UserId, turn_id: TurnId, *, lease_s: float) -> None:
        """Hold a claim from now on for so long; nothing, where its turn has ended or another has it."""
        ...

    async def find(self, user_id: UserId, mark: RequestMark) -> KnownRequest | None:
        """The newest request of that key and body, of the last quarter of an hour."""
        ...

    async def settle(
        self, user_id: UserId, turn_id: TurnId, state: TurnStatus, reply: Mapping[str, Any] | None
    ) -> None:
        """End a claimed request whose turn was not stored (`Store.save_turn` ends those of stored turns).
        One that has ended already stays as it is."""
        ...

    async def pending(self, user_id: UserId, call_ids: Sequence[str]) -> Sequence[Message]:
        """What stands in place of the assistant's message with these calls, where no session keeps it:
        earlier rounds of its turn, which a client is not shown, the message with all its calls, and the
        results that are known already. Empty where the client knows everything."""
        ...
