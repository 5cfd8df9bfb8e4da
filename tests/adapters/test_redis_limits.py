"""Rate limits in Redis: shared by all processes, and by none when it is away."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import pytest
from redis.asyncio import Redis

from cozy.adapters.redis_client import open_redis
from cozy.adapters.redis_limits import RedisLimits
from cozy.adapters.shared_redis import PATIENCE_S, SharedRedis
from cozy.ports.limits import Rate
from tests.redis_server import PatientRedis, RedisServer, own_redis

RATE = Rate(count=1, per_s=3600, burst=3)
"""Nothing comes back while a test runs."""


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    async with open_redis(redis_url) as client:
        yield client


@pytest.fixture
def redis(client: Redis, redis_prefix: str) -> SharedRedis:
    return PatientRedis(client, redis_prefix)


@pytest.fixture
def limits(redis: SharedRedis) -> RedisLimits:
    return RedisLimits(redis)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RedisServer]:
    with own_redis(tmp_path) as server:
        yield server


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_the_burst_may_be_taken_at_once(limits: RedisLimits, redis: SharedRedis) -> None:
    taken = [await limits.take("ada", RATE) for _ in range(5)]
    assert [a.allowed for a in taken] == [True, True, True, False, False]
    assert [a.remaining for a in taken] == [2, 1, 0, 0, 0]
    assert taken[2].reset_s == pytest.approx(3 * 3600, abs=30)
    assert taken[3].retry_after_s == pytest.approx(3600, abs=30)
    assert (await limits.take("bob", RATE)).remaining == 2
    assert not redis.degraded


async def test_it_refills_by_the_server_s_clock(limits: RedisLimits) -> None:
    quick = Rate(count=2, per_s=1, burst=2)
    assert (await limits.take("ada", quick, cost=2)).allowed
    refused = await limits.take("ada", quick, cost=2)
    assert not refused.allowed
    await anyio.sleep(refused.retry_after_s)
    assert (await limits.take("ada", quick, cost=2)).allowed


async def test_what_came_to_nothing_is_given_back(limits: RedisLimits) -> None:
    for _ in range(3):
        await limits.take("ada", RATE)
    await limits.give_back("ada", RATE)
    assert (await limits.take("ada", RATE)).allowed
    for _ in range(10):
        await limits.give_back("ada", RATE)
    assert (await limits.take("ada", RATE)).remaining == 2


async def test_keys_begin_with_the_prefix_and_end_by_themselves(
    limits: RedisLimits, client: Redis, redis_prefix: str
) -> None:
    await limits.take("ada", RATE)
    (key,) = [key async for key in client.scan_iter(match=f"{redis_prefix}*", count=1000)]
    assert 0 < await client.pttl(key) <= 3600 * 1000
    await limits.give_back("ada", RATE)
    assert not await client.exists(key), "a full bucket is none"


async def test_a_clock_that_was_set_back_locks_nobody_out(
    limits: RedisLimits, client: Redis, redis_prefix: str
) -> None:
    quick = Rate(count=1000, per_s=1, burst=1)
    await client.set(f"{redis_prefix}:limit:ada", 2**52, px=60_000)
    await limits.take("ada", quick)
    await anyio.sleep(0.01)
    assert (await limits.take("ada", quick)).allowed


def _take_many(url: str, prefix: str) -> int:
    async def work() -> int:
        async with open_redis(url) as client:
            limits = RedisLimits(PatientRedis(client, prefix))
            return sum([(await limits.take("ada", Rate(1, 3600, 100))).allowed for _ in range(60)])

    return anyio.run(work)


def test_processes_share_a_bucket_to_the_last_drop(redis_url: str, redis_prefix: str) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        taken = pool.starmap(_take_many, [(redis_url, redis_prefix)] * 3)
    assert sum(taken) == 100


async def test_away_and_back(own: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    async with open_redis(own.url) as client:
        redis = PatientRedis(client, "cozy", clock=clock)
        limits = RedisLimits(redis)
        assert (await limits.take("ada", RATE)).remaining == 2

        own.stop()
        caplog.set_level(logging.INFO)
        answers = [await limits.take("ada", RATE) for _ in range(4)]
        assert [a.allowed for a in answers] == [True, True, True, False], "it counts for itself"
        assert redis.degraded
        for pause_s in (1, 2, 4, 8, 16, 30, 30):  # it asks again, ever more seldom
            clock.now += pause_s - 0.01
            await limits.take("ada", RATE)
            assert clock.now + 0.009 < redis._ask_again_at, "not yet"
            clock.now += 0.01
            await limits.take("ada", RATE)
        assert redis.degraded

        own.start()
        clock.now += 30
        assert (await limits.take("ada", RATE)).remaining == 2, "the server knows nothing of before"
        assert not redis.degraded
        assert [(await limits.take("ada", RATE)).remaining for _ in range(2)] == [1, 0]
    told = [r.message for r in caplog.records if r.name == "cozy.redis"]
    assert told == ["redis does not answer: this process goes on by itself", "redis answers again"]


async def test_one_that_hangs_holds_nobody_up(own: RedisServer) -> None:
    clock = Clock()
    async with open_redis(own.url) as client:
        redis = SharedRedis(client, "cozy", clock=clock)
        limits = RedisLimits(redis)
        await limits.take("ada", RATE)
        own.hang()
        began = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for i in range(20):
                tasks.start_soon(limits.take, f"user {i}", RATE)
        assert anyio.current_time() - began < 10 * PATIENCE_S, "they wait at the same time"
        began = anyio.current_time()
        for _ in range(100):
            await limits.take("bob", RATE)
        assert anyio.current_time() - began < 20 * PATIENCE_S, "nobody waits for it any more"
        own.wake()
        clock.now += 1
        await limits.take("ada", RATE)
        assert not redis.degraded


async def test_a_server_that_does_not_know_scripts_any_more_is_told_again(own: RedisServer) -> None:
    async with open_redis(own.url) as client:
        redis = PatientRedis(client, "cozy")
        limits = RedisLimits(redis)
        await limits.take("ada", RATE)
        await client.script_flush()
        assert (await limits.take("ada", RATE)).remaining == 1
        assert not redis.degraded
