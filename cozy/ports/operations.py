"""What operators need of an installation: its health, its audit trail, signals between its processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

Condition = Literal["ok", "degraded", "down"]
BreakerState = Literal["closed", "open", "half_open"]
"""Of a circuit breaker: an engine is asked, left alone, or asked once to see whether it answers again."""


@dataclass(frozen=True, slots=True)
class DependencyHealth:
    """How one thing outside does."""

    name: str
    """`database`, `redis`, `personalities`, `model/openai` …"""
    condition: Condition
    latency_ms: float | None = None
    reason: str = ""
    """Where it is not `ok`; no secret and no address with a password stands in it."""
    vital: bool = True
    """Whether the service cannot do without it: only a vital dependency makes the whole `down`."""
    code: str = ""
    """Of an engine's error, whose message may quote its server: everybody may know what kind it is."""


class Breaks(Protocol):
    """An engine behind a circuit breaker."""

    def watch(self, listener: Callable[[str, str, BreakerState], object]) -> None:
        """Have it told of the engine (`memory`), its name in the configuration and the breaker's state, now
        and whenever that changes."""
        ...


class HealthCheck(Protocol):
    """Never raises, never takes longer than about two seconds."""

    async def __call__(self) -> DependencyHealth: ...


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """Something that was done by or to somebody, for the record."""

    type: str
    """`auth.login_failed`, `admin.reload`, `user.password_changed` …"""
    user_id: UUID | None = None
    """Who did it."""
    request_id: str | None = None
    session_id: UUID | None = None
    personality_id: str | None = None
    level: Literal["debug", "info", "warning", "error", "critical"] = "info"
    payload: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Facts; never a password, a token, a key or the text of a message."""


class Audit(Protocol):
    async def record(self, *events: AuditEvent) -> None:
        """All or none of them are on disk when this returns. Raises StorageError."""
        ...


class Signals(Protocol):
    """Counters that every process of an installation follows. Raises StorageError."""

    async def raise_(self, name: str) -> int:
        """Count one up; gives the new count."""
        ...

    async def counts(self) -> Mapping[str, int]: ...


@dataclass(frozen=True, slots=True)
class Reload:
    """How reading every personality went."""

    at: datetime
    errors: int = 0
    """With any, the personalities of before stay."""
    diagnostics: Sequence[Mapping[str, Any]] = ()
    """Whatever is to be said of the files, warnings too, ready for JSON."""
    lines: Sequence[str] = ()
    """The errors, a line each: place, words and code."""

    def values(self) -> list[Mapping[str, Any]]:
        return list(self.diagnostics)


@dataclass(slots=True)
class ReloadState:
    """The last time that this process read its personalities."""

    last: Reload
    _watchers: list[Callable[[Reload], object]] = field(default_factory=list[Callable[[Reload], object]])

    def watch(self, watcher: Callable[[Reload], object]) -> None:
        """Have it told of the last time, and of each that follows."""
        self._watchers.append(watcher)
        watcher(self.last)

    def tell(self, reload: Reload) -> None:
        self.last = reload
        for watcher in self._watchers:
            watcher(reload)
