"""Erasing what is kept of a user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from cozy.ports.operations import AuditEvent
from cozy.turn import UserId


@dataclass(frozen=True, slots=True)
class ToErase:
    """An engine that has not forgotten the user yet."""

    target: str
    """`memory/NAME` or `profile/NAME`."""
    since: datetime
    attempts: int
    """How often it was tried."""
    due_at: datetime
    """When it is asked next."""
    last_error: str | None


@dataclass(frozen=True, slots=True)
class Erasure:
    """How far a user is erased."""

    user_id: UserId
    erased_at: datetime | None
    """When it was last asked for; None: never."""
    waiting: Sequence[ToErase] = ()
    """What could not be erased yet; it is tried until it is."""
    removed: Mapping[str, int] = field(default_factory=dict[str, int])
    """By table, how many rows went just now."""


class Erasures(Protocol):
    """Raises NotFound for an unknown user, and StorageError."""

    async def erase(self, user_id: UserId, audit: AuditEvent) -> Erasure:
        """Delete all that Cozy's database keeps of what the user said, in one transaction with `audit` and
        the jobs that make every engine forget it. The account stays, and may be used at once."""
        ...

    async def state(self, user_id: UserId) -> Erasure:
        """How far it is."""
        ...
