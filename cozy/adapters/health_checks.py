"""How the things outside do: asked with patience, and not by every caller anew."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio
from sqlalchemy import Connection, text

from cozy.adapters.causes import why_unreachable
from cozy.errors import CozyError, EngineError
from cozy.ports.operations import DependencyHealth, HealthCheck, ReloadState
from cozy.storage.database import Database

if TYPE_CHECKING:
    from cozy.adapters.guard import Guard
    from cozy.adapters.shared_redis import SharedRedis

PATIENCE_S = 2.0
FRESH_S = 10.0
"""How long a model server's answer is good: it is another's, and not vital."""
MOST_LINES = 5
"""Errors of personalities that are told."""


def database_check(database: Database) -> HealthCheck:
    """Whether the database answers."""

    def work(connection: Connection) -> None:
        connection.execute(text("SELECT 1"))

    async def probe() -> str:
        await database.read(work)
        return ""

    return _check("database", probe)


def redis_check(redis: SharedRedis) -> HealthCheck:
    """Whether Redis answers; Cozy does without it."""

    untyped: Any = redis.client

    async def probe() -> str:
        await untyped.ping()
        return "this process counts and caches for itself" if redis.degraded else ""

    return _check("redis", probe, vital=False)


def personalities_check(state: ReloadState) -> HealthCheck:
    """Whether the files of the personalities are without errors."""

    async def probe() -> str:
        last = state.last
        if not last.errors:
            return ""
        left = last.errors - MOST_LINES
        more = [f"and {left} more"] if left > 0 else []
        return "; ".join(["the last good ones are in use", *last.lines[:MOST_LINES], *more])

    return _check("personalities", probe)


def model_server_check(name: str, base_url: str) -> HealthCheck:
    """Whether a model server can be reached, asked every `FRESH_S` at most; a turn would tell more."""

    async def probe() -> str:
        parts = urlsplit(base_url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        async with await anyio.connect_tcp(parts.hostname or "", port):
            return ""

    return cached(_check(f"model/{name}", probe, vital=False))


def engine_check(guard: Guard, probe: Callable[[], Awaitable[None]] | None) -> HealthCheck:
    """Whether turns ask an engine of the personal context, and whether it answers `probe`; turns go on
    without it."""
    name = f"{guard.kind}/{guard.name}"

    async def ask() -> str:
        if probe is not None:
            await probe()
        return ""

    answers = cached(_check(name, ask, vital=False))

    async def check() -> DependencyHealth:
        if guard.breaker.state == "closed":
            return await answers()
        reason = f"left alone for another {guard.breaker.open_s:.0f} s"
        return DependencyHealth(name, "degraded", None, reason, vital=False, code=guard.last_code)

    return check


def cached(check: HealthCheck, fresh_s: float = FRESH_S) -> HealthCheck:
    """The same, asked again only when the last answer is older than that; callers at once share one."""
    lock = anyio.Lock()
    last: DependencyHealth | None = None
    good_until = 0.0

    async def ask() -> DependencyHealth:
        nonlocal last, good_until
        async with lock:
            if last is None or monotonic() > good_until:
                last = await check()
                good_until = monotonic() + fresh_s
            return last

    return ask


def _check(name: str, probe: Callable[[], Awaitable[str]], *, vital: bool = True) -> HealthCheck:
    """A check that asks `probe`: what it gives is why the thing is degraded; where it raises, it is down."""

    async def check() -> DependencyHealth:
        began = perf_counter()
        code = ""
        try:
            with anyio.fail_after(PATIENCE_S):
                reason = await probe()
        except TimeoutError:
            reason, condition = f"no answer within {PATIENCE_S:g} s", "down"
        except EngineError as error:
            reason, code, condition = "", error.code, "down"
        except CozyError as error:
            reason, condition = error.message, "down"
        except Exception as error:
            reason, condition = why_unreachable(error), "down"
        else:
            condition = "degraded" if reason else "ok"
        latency_ms = round((perf_counter() - began) * 1000, 1)
        return DependencyHealth(name, condition, latency_ms, reason, vital, code)

    return check
