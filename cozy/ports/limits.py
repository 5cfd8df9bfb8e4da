"""How often somebody may do something."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Protocol

_HOME_BITS = 64
"""Of an IPv6 address: what a network gives to one household or one server, which moves in it as it likes."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A bucket: `burst` at once, refilled evenly at `count` per `per_s`; all of them above 0."""

    count: float
    per_s: float
    burst: float

    def seconds(self, cost: float) -> float:
        """How long refilling what `cost` takes out lasts."""
        return cost * self.per_s / self.count


@dataclass(frozen=True, slots=True)
class Allowance:
    """Whether it may be done now."""

    allowed: bool
    limit: int
    """The burst."""
    remaining: int
    reset_s: float
    """Until the bucket is full again."""
    retry_after_s: float
    """Until there is room for what was refused; 0 where it was allowed."""


def counted_as(address: str) -> str:
    """The network that a client's address is counted with: IPv4 by itself, IPv6 by its /64.

    IPv4 written as IPv6 is IPv4, and what is no address is counted as it is.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    rest = 128 - _HOME_BITS
    return str(parsed.ipv4_mapped or IPv6Network((int(parsed) >> rest << rest, _HOME_BITS)))


class RateLimiter(Protocol):
    """Never raises: where its server is away, each process counts for itself."""

    async def take(self, key: str, rate: Rate, cost: float = 1) -> Allowance:
        """Use up `cost` of the bucket of `key`, where there is so much; more than a full bucket holds is
        always refused."""
        ...

    async def give_back(self, key: str, rate: Rate, cost: float = 1) -> None:
        """Undo a `take` that came to nothing."""
        ...
