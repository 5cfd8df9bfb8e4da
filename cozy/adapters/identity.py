"""Everything that stands behind the IdentityAdmin port, put together."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime

import anyio

from cozy.adapters.argon2_passwords import Argon2Passwords
from cozy.adapters.caller_cache import CallerCache
from cozy.adapters.login_limits import LoginLimits
from cozy.adapters.login_tokens import LoginTokens, lifetime_s
from cozy.adapters.redis_notices import RedisNotices
from cozy.adapters.signing_keys import signing_keys_from
from cozy.adapters.sql_audit import SqlAudit
from cozy.adapters.sql_identity import SqlIdentity
from cozy.ports.identity import IdentityAdmin
from cozy.ports.limits import RateLimiter
from cozy.settings import AuthSettings, RedisSettings
from cozy.storage.database import Database
from cozy.storage.schema import utc_now

CLOSING_S = 2.0
"""How long leaving waits for notes of when keys were used."""


@asynccontextmanager
async def open_identity(
    database: Database,
    settings: AuthSettings,
    limiter: RateLimiter,
    *,
    redis: RedisSettings | None = None,
    environ: Mapping[str, str] | None = None,
    passwords: Argon2Passwords | None = None,
    now: Callable[[], datetime] = utc_now,
) -> AsyncGenerator[IdentityAdmin]:
    """Users, tokens and keys of a migrated database, until the block is left.

    With Redis, what one process revokes is seen by all at once, and without it within two seconds. Raises
    ConfigError for what `COZY_JWT_KEYS` or `redis.url` cannot be.
    """
    env = os.environ if environ is None else environ
    keys = signing_keys_from(env, database, lifetime_s=lifetime_s(settings), now=now)
    callers = CallerCache()
    failure: BaseException | None = None
    async with AsyncExitStack() as stack:
        notices = None
        if redis is not None and redis.url:
            from cozy.adapters.redis_client import open_redis

            notices = RedisNotices(await stack.enter_async_context(open_redis(redis.url)), redis.prefix)
        listening = await stack.enter_async_context(anyio.create_task_group())
        if notices is not None:
            listening.start_soon(notices.run, callers.drop)
        async with anyio.create_task_group() as tasks:
            identity = SqlIdentity(
                database,
                settings,
                LoginLimits(limiter, settings),
                passwords or Argon2Passwords(),
                LoginTokens(database, keys, settings, now),
                callers,
                SqlAudit(database),
                tasks,
                notices,
                now,
            )
            try:
                yield identity
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as error:  # a task group would wrap the block's own error in a group
                failure = error
            tasks.cancel_scope.deadline = anyio.current_time() + CLOSING_S
        if notices is not None:
            await notices.leave()
        listening.cancel_scope.cancel()
    if failure is not None:
        raise failure
