"""Users for tests: an identity whose passwords cost little, and a clock that is set by hand."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from cozy.adapters.argon2_passwords import Argon2Passwords
from cozy.adapters.identity import open_identity
from cozy.adapters.memory_limits import MemoryLimits
from cozy.ports.identity import IdentityAdmin
from cozy.ports.limits import RateLimiter
from cozy.settings import AuthSettings, RedisSettings
from cozy.storage.database import Database
from cozy.storage.schema import utc_now

PASSWORD = "open sesame"


class Clock:
    """The time of day, plus what a test has let go by."""

    def __init__(self) -> None:
        self.gone = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self.gone

    def pass_by(self, **units: float) -> None:
        self.gone += timedelta(**units)


def cheap_passwords(**costs: int) -> Argon2Passwords:
    return Argon2Passwords(**{"time_cost": 1, "memory_kib": 64, "lanes": 1} | costs)


@asynccontextmanager
async def people(
    database: Database,
    settings: AuthSettings | None = None,
    *,
    clock: Clock | None = None,
    redis: RedisSettings | None = None,
    passwords: Argon2Passwords | None = None,
    limits: RateLimiter | None = None,
    environ: dict[str, str] | None = None,
) -> AsyncGenerator[IdentityAdmin]:
    """What one process of an installation has open."""
    async with open_identity(
        database,
        settings or AuthSettings(),
        MemoryLimits() if limits is None else limits,
        redis=redis,
        environ=environ or {},
        passwords=passwords or cheap_passwords(),
        now=clock or Clock(),
    ) as identity:
        yield identity
