"""Whoever guesses passwords or codes, or makes many accounts, is slowed down; whoever knows them is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from uuid import UUID

from cozy.errors import RateLimited
from cozy.ports.limits import Rate, RateLimiter, counted_as
from cozy.settings import AuthSettings

SHARED_FACTOR = 5
"""So many names may be tried from one address, as people share one; and one name from so many addresses, so
that nobody is kept out by whoever guesses their password elsewhere."""

Bucket = tuple[str, Rate]


@dataclass(frozen=True, slots=True)
class LoginLimits:
    limiter: RateLimiter
    settings: AuthSettings

    def of_login(self, name: str, address: str) -> Sequence[Bucket]:
        """By name, known or not; where there is a network address, by it, and by both together."""
        name = _short(name)
        if not address:
            return [(f"login:{name}", self._rate(1))]
        address = _short(counted_as(address))
        return [
            (f"login:{name}:{address}", self._rate(1)),
            (f"login:{name}", self._rate(SHARED_FACTOR)),
            (f"login-address:{address}", self._rate(SHARED_FACTOR)),
        ]

    def of_user(self, user_id: UUID) -> Sequence[Bucket]:
        """For what somebody who is logged in proves again."""
        return [(f"login-user:{user_id}", self._rate(1))]

    def of_registration(self, address: str) -> Sequence[Bucket]:
        """By network address, where there is one and a limit."""
        count = self.settings.registrations_per_hour
        if not address or not count:
            return []
        return [(f"register:{_short(counted_as(address))}", Rate(count, per_s=3600, burst=count))]

    async def take(self, buckets: Sequence[Bucket], what: str = "attempts to log in") -> None:
        """Count an attempt before it is made: many at once are so many. Raises RateLimited."""
        for place, (key, rate) in enumerate(buckets):
            allowance = await self.limiter.take(key, rate)
            if not allowance.allowed:
                await self.give_back(buckets[:place])
                raise RateLimited(what, allowance.retry_after_s)

    async def give_back(self, buckets: Sequence[Bucket]) -> None:
        """The attempt was no guess, or came to nothing."""
        for key, rate in buckets:
            await self.limiter.give_back(key, rate)

    def _rate(self, factor: int) -> Rate:
        return Rate(
            count=factor, per_s=self.settings.login_refill_s, burst=factor * self.settings.login_attempts
        )


def _short(text: str) -> str:
    """As it is, or its hash: what a hostile client says is not kept at length."""
    return (
        text
        if len(text) <= 64
        else blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    )
