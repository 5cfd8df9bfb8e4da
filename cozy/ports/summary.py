"""The rolling summary of what a session's history no longer shows."""

from __future__ import annotations

from typing import Protocol

from cozy.turn import SessionId, UserId


class Summaries(Protocol):
    """Raises StorageError, and the model's EngineError."""

    async def update(self, user_id: UserId, session_id: SessionId, *, keep: int, model: str) -> bool:
        """Take what is older than the last `keep` messages into the session's summary, in `model`'s words.

        False where nothing was done: too little is new, the session is gone, the model said nothing, or
        somebody else did it meanwhile. Doing it twice changes nothing.
        """
        ...
