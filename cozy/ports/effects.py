"""Calls of tools that change something: kept before they are made, so that one turn makes none twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID, uuid4

from cozy.turn import Turn


@dataclass(frozen=True, slots=True)
class Effect:
    """A call of a tool with side effects."""

    tool: str
    arguments: str
    """JSON with its keys in order: the same however a model writes it."""
    result: str | None = None
    """What the model was told; None: it is not known whether it was carried out."""
    id: UUID = field(default_factory=uuid4)


class Effects(Protocol):
    """Raises StorageError."""

    async def before(self, turn: Turn) -> Sequence[Effect]:
        """What this turn did when it ran before, oldest first: as the turns that it says again, and as the
        request that it repeats."""
        ...

    async def begin(self, turn: Turn, effect: Effect) -> None:
        """On disk when this returns: from here on the call may have been made."""
        ...

    async def end(self, effect: Effect) -> None:
        """Keep what came of it; without a result nothing did, and it may be tried again."""
        ...
