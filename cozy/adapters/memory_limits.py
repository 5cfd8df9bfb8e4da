"""Rate limits within one process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from math import floor
from time import monotonic

from cozy.ports.limits import Allowance, Rate

MOST_KEYS = 100_000
"""Buckets that are kept, about 20 MB; beyond that the one that was used longest ago is forgotten."""
ROUNDING_S = 1e-6
"""Who comes back after `retry_after_s` to the dot is not refused for a rounding error."""


class MemoryLimits:
    """A bucket for each key, as one number: the moment at which it is full again.

    A bucket that is full is as good as none, so only those of the last while are kept.
    """

    def __init__(self, *, most_keys: int = MOST_KEYS, clock: Callable[[], float] = monotonic) -> None:
        self._full_at: OrderedDict[str, float] = OrderedDict()
        self._most_keys = most_keys
        self._clock = clock

    def __len__(self) -> int:
        return len(self._full_at)

    async def take(self, key: str, rate: Rate, cost: float = 1) -> Allowance:
        now = self._clock()
        before = self._full_in(key, rate, now)
        after = before + rate.seconds(cost)
        if after > rate.seconds(rate.burst) + ROUNDING_S:
            self._keep(key, now, before)
            return allowance(before, rate, cost, allowed=False)
        self._keep(key, now, after)
        return allowance(after, rate, cost, allowed=True)

    async def give_back(self, key: str, rate: Rate, cost: float = 1) -> None:
        now = self._clock()
        self._keep(key, now, self._full_in(key, rate, now) - rate.seconds(cost))

    def _full_in(self, key: str, rate: Rate, now: float) -> float:
        # never longer than an empty bucket takes: a rate may have been changed
        return min(max(0.0, self._full_at.get(key, now) - now), rate.seconds(rate.burst))

    def _keep(self, key: str, now: float, full_in: float) -> None:
        if full_in <= 0:
            self._full_at.pop(key, None)
            return
        self._full_at[key] = now + full_in
        self._full_at.move_to_end(key)
        for _ in range(2):  # more go than come, so that what is full does not gather
            oldest = next(iter(self._full_at))
            if self._full_at[oldest] > now and len(self._full_at) <= self._most_keys:
                break
            del self._full_at[oldest]


def allowance(full_in_s: float, rate: Rate, cost: float, *, allowed: bool) -> Allowance:
    """What is told of a bucket that is full again in `full_in_s`."""
    empty_s = rate.seconds(rate.burst)
    return Allowance(
        allowed=allowed,
        limit=floor(rate.burst),
        remaining=max(0, floor((empty_s - full_in_s + ROUNDING_S) / rate.seconds(1))),
        reset_s=full_in_s,
        retry_after_s=0.0 if allowed else full_in_s - max(0.0, empty_s - rate.seconds(cost)),
    )
