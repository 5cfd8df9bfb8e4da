"""Rate limits that all processes of an installation share, in Redis."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic

import anyio
from redis.asyncio import Redis

from cozy.adapters.memory_limits import ROUNDING_S, MemoryLimits, allowance
from cozy.adapters.redis_client import REDIS_ERRORS
from cozy.ports.limits import Allowance, Rate

_log = logging.getLogger("cozy.limits")

PATIENCE_S = 0.5
"""How long a request waits for Redis before this process decides by itself."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0

# The same number as in memory: when the bucket is full again, in microseconds of the server's clock, so that
# no process's own clock counts. Gives whether it was taken, and how long until the bucket is full.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local cost, empty, slack = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local known = math.max(tonumber(redis.call('GET', KEYS[1])) or now, now)
local full = math.min(known, now + empty)
local taken = full + cost <= now + empty + slack
local after = taken and full + cost or full
if after <= now then
  redis.call('DEL', KEYS[1])
elseif after ~= known then
  redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000))
end
return {taken and 1 or 0, math.max(0, after - now)}
"""


class RedisLimits:
    """Buckets in Redis; while it is away or slow, this process counts for itself."""

    def __init__(self, client: Redis, prefix: str, *, clock: Callable[[], float] = monotonic) -> None:
        self._take = client.register_script(_TAKE)
        self._prefix = prefix
        self._clock = clock
        self._own = MemoryLimits()
        self._pause_s = 0.0
        """Before Redis is asked again; 0: it answers."""
        self._ask_again_at = 0.0

    @property
    def degraded(self) -> bool:
        """Whether this process counts for itself."""
        return self._pause_s > 0

    async def take(self, key: str, rate: Rate, cost: float = 1) -> Allowance:
        answer = await self._ask(key, rate, cost)
        if answer is None:
            return await self._own.take(key, rate, cost)
        allowed, full_in_s = answer
        return allowance(full_in_s, rate, cost, allowed=allowed)

    async def give_back(self, key: str, rate: Rate, cost: float = 1) -> None:
        if await self._ask(key, rate, -cost) is None:
            await self._own.give_back(key, rate, cost)

    async def _ask(self, key: str, rate: Rate, cost: float) -> tuple[bool, float] | None:
        """Whether it was taken, and the seconds until the bucket is full; None: Redis does not answer."""
        probing = self.degraded
        if probing:
            if self._clock() < self._ask_again_at:
                return None
            self._ask_again_at = self._clock() + self._pause_s  # one asks, the others go on meanwhile
        arguments = (rate.seconds(cost) * 1e6, rate.seconds(rate.burst) * 1e6, ROUNDING_S * 1e6)
        try:
            with anyio.fail_after(PATIENCE_S):
                taken, full_in = await self._take(keys=[f"{self._prefix}:limit:{key}"], args=arguments)
        except REDIS_ERRORS as error:
            self._went_away(type(error).__name__, probing=probing)
            return None
        self._came_back()
        return bool(taken), int(full_in) / 1e6

    def _went_away(self, kind: str, *, probing: bool) -> None:
        if probing:
            self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
        elif not self.degraded:
            _log.warning(
                "redis does not answer: this process counts requests for itself",
                extra={"engine": "redis", "error": kind},
            )
            self._pause_s = FIRST_PAUSE_S
        else:
            return  # it was under way when another noticed
        self._ask_again_at = self._clock() + self._pause_s

    def _came_back(self) -> None:
        if self.degraded:
            _log.warning("redis answers again", extra={"engine": "redis"})
            self._pause_s = 0.0
