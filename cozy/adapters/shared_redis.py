"""Redis, for what can do without it: while it is away, slow or full, whoever asks is told so at once."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

import anyio

if TYPE_CHECKING:
    from redis.asyncio import Redis

_log = logging.getLogger("cozy.redis")

PATIENCE_S = 0.5
"""How long a request waits for Redis before this process goes on by itself."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0

T = TypeVar("T")


class RedisAway(Exception):
    """It does not answer, or takes nothing more: go on without it."""


class SharedRedis:
    """One for all who use it in a process: what one notices, the others need not wait for."""

    def __init__(self, client: Redis, prefix: str, *, clock: Callable[[], float] = monotonic) -> None:
        from cozy.adapters.redis_client import REDIS_ERRORS

        self.client = client
        self._errors = REDIS_ERRORS
        self.prefix = prefix
        self._clock = clock
        self._pause_s = 0.0
        """Before it is asked again; 0: it answers."""
        self._is_full = False
        """It answers, and refuses writes: who reads goes on, and that says nothing of writes."""
        self._ask_again_at = 0.0

    @property
    def degraded(self) -> bool:
        """Whether this process goes on without it."""
        return self._pause_s > 0

    async def ask(
        self, command: Callable[[], Awaitable[T]], patience_s: float = PATIENCE_S, *, writes: bool = False
    ) -> T:
        """What `command` gives; `writes`: it may store something. Raises RedisAway."""
        probing = self.degraded and (writes or not self._is_full)
        if probing:
            if self._clock() < self._ask_again_at:
                raise RedisAway
            self._ask_again_at = self._clock() + self._pause_s  # one asks, the others go on meanwhile
        try:
            with anyio.fail_after(patience_s):
                answer = await command()
        except self._errors as error:
            from redis.exceptions import ResponseError

            is_full = writes and isinstance(error, ResponseError)
            self._went_away(type(error).__name__, probing=probing, is_full=is_full)
            raise RedisAway from error
        if writes or not self._is_full:
            self._came_back()
        return answer

    def _went_away(self, kind: str, *, probing: bool, is_full: bool) -> None:
        if probing:
            self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
            self._is_full = is_full
        elif not self.degraded or self._is_full > is_full:
            facts = {"engine": "redis", "error": kind}
            if is_full:
                _log.warning("redis takes nothing more: this process goes on by itself", extra=facts)
            else:
                _log.warning("redis does not answer: this process goes on by itself", extra=facts)
            self._pause_s = FIRST_PAUSE_S
            self._is_full = is_full
        else:
            return  # it was under way when another noticed
        self._ask_again_at = self._clock() + self._pause_s

    def _came_back(self) -> None:
        if self.degraded:
            _log.warning("redis answers again", extra={"engine": "redis"})
            self._pause_s, self._is_full = 0.0, False
