"""The Redis client: what it is told, and how soon it gives up."""

from __future__ import annotations

import anyio
import pytest

from cozy.adapters.redis_client import REDIS_ERRORS, open_redis
from cozy.errors import ConfigError


async def test_it_connects_at_the_first_command(redis_url: str) -> None:
    async with open_redis(redis_url) as client:
        assert await client.ping()


async def test_a_server_that_is_away_is_noticed_at_once() -> None:
    async with open_redis("redis://127.0.0.1:1/0") as client:
        began = anyio.current_time()
        with pytest.raises(REDIS_ERRORS):
            await client.ping()
        assert anyio.current_time() - began < 2


@pytest.mark.parametrize("url", ["", "http://127.0.0.1", "redis://:hunter2@127.0.0.1:port/0", "redis://[::1"])
async def test_an_address_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError, match=r"redis\.url") as caught:
        async with open_redis(url):
            pass
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_more_callers_than_connections_wait_for_their_turn(redis_url: str) -> None:
    async with open_redis(redis_url) as client, anyio.create_task_group() as tasks:
        for _ in range(200):
            tasks.start_soon(client.ping)
