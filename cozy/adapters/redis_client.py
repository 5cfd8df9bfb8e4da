"""The one place that makes a Redis client."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError

from cozy.errors import ConfigError

CONNECT_S = 1.0
ANSWER_S = 2.0
CONNECTIONS = 50

# what the client raises when the server is away, slow or not what it should be; the rest are bugs
REDIS_ERRORS = (RedisError, OSError, TimeoutError)


@asynccontextmanager
async def open_redis(url: str) -> AsyncGenerator[Redis]:
    """A client whose connections close when the block is left; it connects at the first command.

    A server that is away is noticed within `CONNECT_S`, one that hangs within `ANSWER_S`. Raises ConfigError
    for an address that is none.
    """
    client = Redis(connection_pool=_pool(url))
    try:
        yield client
    finally:
        with anyio.move_on_after(ANSWER_S, shield=True):
            await client.aclose(close_connection_pool=True)


async def ping(url: str) -> None:
    """Whether a server answers there. Raises ConfigError, or one of REDIS_ERRORS."""
    async with open_redis(url) as client:
        untyped: Any = client
        await untyped.ping()


def _pool(url: str) -> BlockingConnectionPool:
    kind: Any = BlockingConnectionPool  # its keywords have no types
    try:
        return kind.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=CONNECT_S,
            socket_connect_timeout=CONNECT_S,
            socket_timeout=ANSWER_S,
            # the default tries for four seconds before it says that nobody is there
            retry=Retry(ExponentialBackoff(), 1),
        )
    except ValueError:  # its words may hold the password
        raise ConfigError(
            "`redis.url` is no address of a Redis server", hint="write it as `redis://host:6379/0`"
        ) from None
