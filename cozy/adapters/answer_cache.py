"""What engines have answered, kept for a while: in this process (L1), and in Redis (L2) if there is one."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from time import time
from typing import Any

from cachetools import LRUCache

from cozy.adapters.shared_redis import RedisAway, SharedRedis

L2_PATIENCE_S = 0.1
"""How long a question to an engine waits for Redis first."""
SCANNED = 1000
"""Keys that Redis looks at in one go, among which those of one user are looked for."""
_SPECIAL = re.compile(r"[*?\[\]\\^-]")
"""What means something in a pattern of Redis."""
LONGEST_BYTES = 256_000
"""A longer answer is not kept: it would push out hundreds of others."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer, and when it was given."""

    payload: bytes
    at: float
    """By the wall clock, in seconds: processes of several machines share it."""


class AnswerCache:
    """Bounded by bytes, none is nothing at all; the least used go first. Keys hold the user, so nobody is
    given another's answer."""

    def __init__(
        self, most_bytes: int, redis: SharedRedis | None = None, *, clock: Callable[[], float] = time
    ) -> None:
        self._near: LRUCache[str, Kept] = LRUCache(most_bytes, getsizeof=_size)
        self._redis = redis if most_bytes else None
        self.clock = clock

    @property
    def is_shared(self) -> bool:
        """Whether other processes have a part in it."""
        return self._redis is not None

    def near(self, key: str) -> Kept | None:
        """What this process keeps, however old it is."""
        return self._near.get(key)

    async def far(self, keys: Sequence[str]) -> None:
        """Bring here what other processes keep of these; nothing happens where Redis is away."""
        if self._redis is None:
            return
        untyped: Any = self._redis.client
        names = [self._name(key) for key in keys]
        try:
            found: list[bytes | None] = await self._redis.ask(lambda: untyped.mget(names), L2_PATIENCE_S)
        except RedisAway:
            return
        for key, value in zip(keys, found, strict=True):
            kept = _read(value, self.clock()) if value is not None else None
            known = self._near.get(key)
            if kept is not None and (known is None or known.at < kept.at):
                self._put(key, kept)

    def keep(self, keys: Sequence[str], payload: bytes) -> Kept | None:
        """Under each of the keys, in this process; None: it is too long to be kept."""
        if len(payload) > LONGEST_BYTES:
            return None
        kept = Kept(payload, self.clock())
        for key in keys:
            self._put(key, kept)
        return kept

    async def share(self, keys: Sequence[str], kept: Kept, keep_s: float) -> None:
        """With the other processes, for so long; nothing happens where Redis is away."""
        if self._redis is None:
            return
        untyped: Any = self._redis.client
        value = f"{kept.at:.3f}\n".encode() + kept.payload
        keep_ms = max(int((kept.at + keep_s - self.clock()) * 1000), 1)

        async def write() -> None:
            async with untyped.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.set(self._name(key), value, px=keep_ms)
                await pipe.execute()

        with suppress(RedisAway):
            await self._redis.ask(write, writes=True)

    async def drop(self, beginning: str) -> None:
        """Every key that begins like this, here and in Redis; while that is away, its keys run out there."""
        for key in [key for key in self._near if key.startswith(beginning)]:
            self._near.pop(key, None)
        if self._redis is None:
            return
        untyped: Any = self._redis.client
        pattern = _SPECIAL.sub(r"\\\g<0>", self._name(beginning)) + "*"
        cursor = -1
        with suppress(RedisAway):
            while cursor:
                place = max(cursor, 0)
                cursor, names = await self._redis.ask(partial(untyped.scan, place, pattern, SCANNED))
                if names:
                    await self._redis.ask(partial(untyped.unlink, *names))

    def _put(self, key: str, kept: Kept) -> None:
        if _size(kept) <= self._near.maxsize:
            self._near[key] = kept

    def _name(self, key: str) -> str:
        return f"{self._redis.prefix if self._redis else ''}:answer:{key}"


def _size(kept: Kept) -> int:
    return len(kept.payload) + 300  # about what key and entry take beside it


def _read(value: bytes, now: float) -> Kept | None:
    """None for what somebody else has written there. What comes from a clock that is ahead is of now."""
    at, found, payload = value.partition(b"\n")
    try:
        return Kept(payload, min(float(at), now)) if found else None
    except ValueError:
        return None
