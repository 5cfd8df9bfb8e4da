"""Tokens with which a browser talks to a realtime voice server by itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class RealtimeToken:
    value: str = field(repr=False)
    """Begins with `ek_`; good for a minute or so."""
    model: str
    url: str
    """Of the WebSocket."""


class RealtimeTokens(Protocol):
    async def token(self) -> RealtimeToken:
        """Raises EngineError."""
        ...
