"""Rate limits that all processes of an installation share, in Redis."""

from __future__ import annotations

from cozy.adapters.memory_limits import ROUNDING_S, MemoryLimits, allowance
from cozy.adapters.shared_redis import RedisAway, SharedRedis
from cozy.ports.limits import Allowance, Rate

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

    def __init__(self, redis: SharedRedis) -> None:
        self._redis = redis
        self._take = redis.client.register_script(_TAKE)
        self._own = MemoryLimits()

    async def take(self, key: str, rate: Rate, cost: float = 1) -> Allowance:
        try:
            allowed, full_in_s = await self._ask(key, rate, cost)
        except RedisAway:
            return await self._own.take(key, rate, cost)
        return allowance(full_in_s, rate, cost, allowed=allowed)

    async def give_back(self, key: str, rate: Rate, cost: float = 1) -> None:
        try:
            await self._ask(key, rate, -cost)
        except RedisAway:
            await self._own.give_back(key, rate, cost)

    async def _ask(self, key: str, rate: Rate, cost: float) -> tuple[bool, float]:
        """Whether it was taken, and the seconds until the bucket is full. Raises RedisAway."""
        arguments = (rate.seconds(cost) * 1e6, rate.seconds(rate.burst) * 1e6, ROUNDING_S * 1e6)
        keys = [f"{self._redis.prefix}:limit:{key}"]
        taken, full_in = await self._redis.ask(lambda: self._take(keys=keys, args=arguments), writes=True)
        return bool(taken), int(full_in) / 1e6
