"""Told between the processes of an installation: whose tokens, keys or role have changed just now.

What is told here is in the database already, and each process looks there every two seconds. So nothing
depends on Redis: where it is away, a revocation takes those two seconds to be seen everywhere.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

import anyio

from cozy.turn import UserId

if TYPE_CHECKING:
    from redis.asyncio import Redis

_log = logging.getLogger("cozy.identity")

WAITING = 1000
"""Notices that wait while Redis is slow; more are left to the database."""
SHORTEST_WAIT_S, LONGEST_WAIT_S = 0.1, 5.0
"""Between two tries to reach a server that is away."""
LEAVING_S = 1.0
SILENCE_S = 15.0
"""After so long without a word the server is asked whether it is still there."""


class RedisNotices:
    def __init__(self, client: Redis, prefix: str) -> None:
        from cozy.adapters.redis_client import REDIS_ERRORS

        self._client: Any = client  # its commands have no types
        self._errors = REDIS_ERRORS
        self._channel = f"{prefix}:identity"
        self._send, self._receive = anyio.create_memory_object_stream[UserId](WAITING)
        self._is_away = False
        self._all_told = anyio.Event()

    def tell(self, user_id: UserId) -> None:
        """Pass it on, without waiting for it."""
        try:
            self._send.send_nowait(user_id)
        except (anyio.WouldBlock, anyio.BrokenResourceError, anyio.ClosedResourceError):
            _log.debug("a notice is left to the database")

    async def run(self, heard: Callable[[UserId | None], None]) -> None:
        """Until cancelled: pass on what `tell` was given, and hand on what others tell; None: anybody's may
        have changed, since nothing was heard for a while."""
        with self._send, self._receive:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._speak)
                tasks.start_soon(self._listen, heard)

    async def leave(self) -> None:
        """Take no more notices, and wait a moment for those that were taken."""
        self._send.close()
        with anyio.move_on_after(LEAVING_S):
            await self._all_told.wait()

    async def _speak(self) -> None:
        async for user_id in self._receive:
            try:
                await self._client.publish(self._channel, user_id.hex)
            except self._errors:
                _log.debug("a notice is left to the database")
        self._all_told.set()

    async def _listen(self, heard: Callable[[UserId | None], None]) -> None:
        wait = SHORTEST_WAIT_S
        while True:
            try:
                async with self._client.pubsub() as subscription:
                    await subscription.subscribe(self._channel)
                    async for message in _messages(subscription):
                        wait = SHORTEST_WAIT_S
                        self._is_away = False
                        heard(_named_in(message))
            except self._errors as error:
                if not self._is_away:
                    name = type(error).__name__
                    _log.warning("redis is away (%s): revocations are read from the database", name)
                self._is_away = True
            await anyio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT_S)


async def _messages(subscription: Any) -> AsyncIterator[dict[str, Any]]:
    """The first says that it is subscribed. Raises one of REDIS_ERRORS."""
    is_asked = False
    while True:
        message = await subscription.get_message(timeout=SILENCE_S)
        if message is None:
            if is_asked:
                raise TimeoutError
            await subscription.ping()
        elif message["type"] != "pong":
            yield message
        is_asked = message is None


def _named_in(message: dict[str, Any]) -> UserId | None:
    """Whom a message is about; of one that cannot be read, and of the first of a subscription: anybody."""
    try:
        return UserId(UUID(message["data"].decode())) if message["type"] == "message" else None
    except (ValueError, AttributeError):
        return None
