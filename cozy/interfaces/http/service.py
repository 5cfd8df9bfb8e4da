"""What the routes need of a running installation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import anyio

from cozy.engine.backlog import Backlog
from cozy.engine.engine import Engine
from cozy.engine.worker import Worker
from cozy.ports.erasure import Erasures
from cozy.ports.identity import Identity
from cozy.ports.limits import RateLimiter
from cozy.ports.operations import Breaks, HealthCheck, Reload, ReloadState
from cozy.ports.outbox import Outbox
from cozy.ports.realtime import RealtimeTokens
from cozy.ports.requests import Requests
from cozy.ports.sessions import Sessions
from cozy.settings import Settings


@dataclass(frozen=True, slots=True)
class Service:
    """A running installation, as its HTTP interface sees it. Stores and engines are the engine's ports."""

    settings: Settings
    engine: Engine
    sessions: Sessions
    requests: Requests
    identity: Identity
    limits: RateLimiter
    reload: Callable[[], Awaitable[Reload]]
    """Read every personality again, here and then in every other process."""
    reloads: ReloadState
    worker: Worker
    backlog: Backlog
    outbox: Outbox
    erasures: Erasures
    realtime: RealtimeTokens | None = None
    """Who lends tokens for voice calls; None: nobody."""
    checks: Sequence[HealthCheck] = ()
    breakers: Sequence[Breaks] = ()
    """The engines of the personal context, each behind its circuit breaker."""
    draining: anyio.Event = field(default_factory=anyio.Event)
    """Set when the server is being stopped: no new turns begin."""
    under_way: set[anyio.CancelScope] = field(default_factory=set[anyio.CancelScope])
    """Of turns that run or wait for a place. Where one is cancelled, its client is told that the server is
    being stopped."""

    @property
    def models(self) -> tuple[str, ...]:
        """Every `provider/model` that is known by name and that clients may ask for."""
        from fnmatch import fnmatchcase

        settings = self.settings
        known = [settings.model.default]
        for name, provider in settings.providers.items():
            known += [f"{name}/{model}" for model in provider.models]
            known += [f"{name}/{provider.default_model}"] if provider.default_model else []
        return tuple(
            name
            for name in dict.fromkeys(known)
            if any(fnmatchcase(name, pattern) for pattern in settings.server.models)
        )
