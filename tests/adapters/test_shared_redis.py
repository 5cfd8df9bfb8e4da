"""Redis that is away, slow or full: one tries, ever less often, and nobody waits for it meanwhile."""

from __future__ import annotations

import anyio
import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from cozy.adapters.shared_redis import LONGEST_PAUSE_S, RedisAway, SharedRedis


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Server:
    """What a command meets."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked = 0

    async def command(self) -> str:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return "yes"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def redis(clock: Clock) -> SharedRedis:
    return SharedRedis(Redis(), "cozy", clock=clock)


async def away(redis: SharedRedis, server: Server, *, writes: bool = False) -> bool:
    """Whether it is told to go on without."""
    try:
        assert await redis.ask(server.command, writes=writes) == "yes"
    except RedisAway:
        return True
    return False


async def test_while_it_is_away_it_is_tried_ever_less_often(
    redis: SharedRedis, server: Server, clock: Clock
) -> None:
    server.error = RedisConnectionError("refused")
    assert await away(redis, server)
    assert redis.degraded
    for pause_s in (1, 2, 4, 8, 16, LONGEST_PAUSE_S, LONGEST_PAUSE_S):
        before = server.asked
        clock.now += pause_s - 0.01
        assert await away(redis, server)
        assert server.asked == before
        clock.now += 0.01
        assert await away(redis, server)
        assert server.asked == before + 1
    server.error = None
    clock.now += LONGEST_PAUSE_S
    assert not await away(redis, server)
    assert not redis.degraded
    server.error = RedisConnectionError("refused")
    assert await away(redis, server)
    clock.now += 1
    server.error = None
    assert not await away(redis, server), "the first pause is short again"


async def test_one_tries_and_the_others_do_not_wait_for_it(
    redis: SharedRedis, server: Server, clock: Clock
) -> None:
    server.error = RedisConnectionError("refused")
    await away(redis, server)
    clock.now += 1
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(redis.ask, anyio.sleep_forever)
        await anyio.wait_all_tasks_blocked()
        server.error = None
        assert await away(redis, server)
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("writes", [True, False])
async def test_one_that_is_full_refuses_writes_alone(
    redis: SharedRedis, server: Server, clock: Clock, writes: bool
) -> None:
    server.error = ResponseError("OOM command not allowed")
    assert await away(redis, server, writes=True)
    server.error = None
    assert await away(redis, server, writes=writes) is writes
    assert redis.degraded, "reading says nothing of writing"
    clock.now += 1
    assert not await away(redis, server, writes=True)
    assert not redis.degraded


async def test_one_that_is_slow_is_away(redis: SharedRedis, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        with pytest.raises(RedisAway):
            await redis.ask(anyio.sleep_forever, 0.001)
    assert [r.message for r in caplog.records] == ["redis does not answer: this process goes on by itself"]
