"""Told between the processes of an installation: whose tokens, keys or role have changed just now.

What is told here is in the database already, and each process looks there every two seconds. So nothing
depends on Redis: where it is away, a revocation takes those two seconds to be seen everywhere.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID

import anyio
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError

from cozy.errors import ConfigError
from cozy.settings import RedisSettings
from cozy.turn import UserId

log = logging.getLogger(__name__)

WAITING = 1000
"""Notices that wait while Redis is slow; more are left to the database."""
SHORTEST_WAIT_S, LONGEST_WAIT_S = 0.1, 5.0
"""Between two tries to reach a server that is away."""
LISTEN_S = 15.0

_AWAY = (RedisError, OSError)


class RedisNotices:
    """Raises ConfigError for an address that is none."""

    def __init__(self, settings: RedisSettings) -> None:
        self._channel = f"{settings.prefix}:identity"
        self._send, self._receive = anyio.create_memory_object_stream[UserId](WAITING)
        try:
            self._client: Any = Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
                settings.url,
                retry=Retry(ExponentialBackoff(), 1),
                socket_connect_timeout=1,
                socket_timeout=2,
                health_check_interval=LISTEN_S,
            )
        except ValueError as error:
            raise ConfigError("`redis.url` is no address of a Redis server", hint=str(error)) from None

    def tell(self, user_id: UserId) -> None:
        """Pass it on, without waiting for it."""
        try:
            self._send.send_nowait(user_id)
        except (anyio.WouldBlock, anyio.BrokenResourceError, anyio.ClosedResourceError):
            log.debug("a notice is left to the database")

    async def run(self, heard: Callable[[UserId | None], None]) -> None:
        """Until cancelled: pass on what `tell` was given, and hand on what others tell; None: anybody's may
        have changed, since nothing was heard for a while."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._speak)
                tasks.start_soon(self._listen, heard)
        finally:
            self._send.close()
            self._receive.close()
            with anyio.move_on_after(2, shield=True):
                await self._client.aclose()

    async def _speak(self) -> None:
        async for user_id in self._receive:
            try:
                await self._client.publish(self._channel, user_id.hex)
            except _AWAY:
                log.debug("a notice is left to the database")

    async def _listen(self, heard: Callable[[UserId | None], None]) -> None:
        wait = SHORTEST_WAIT_S
        while True:
            try:
                async with self._client.pubsub() as subscription:
                    await subscription.subscribe(self._channel)
                    while True:
                        message = await subscription.get_message(timeout=LISTEN_S)
                        if message is not None:
                            wait = SHORTEST_WAIT_S
                            heard(_named_in(message))
            except _AWAY as error:
                log.warning(
                    "redis is away: revocations are read from the database (%s)", type(error).__name__
                )
            await anyio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT_S)


def _named_in(message: dict[str, Any]) -> UserId | None:
    """Whom a message is about; of one that cannot be read, and of the first of a subscription: anybody."""
    try:
        return UserId(UUID(message["data"].decode())) if message["type"] == "message" else None
    except (ValueError, AttributeError):
        return None
