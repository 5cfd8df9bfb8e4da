"""Answers of engines, kept here and in Redis: bounded, the newest, and each under its own key."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from cozy.adapters.answer_cache import AnswerCache, Kept
from cozy.adapters.redis_client import open_redis
from cozy.adapters.shared_redis import SharedRedis


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_short_answers_take_room_too(clock: Clock) -> None:
    cache = AnswerCache(30_000, clock=clock)
    keys = [f"{number}" for number in range(1000)]
    for key in keys:
        cache.keep([key], b"[]")
    assert 50 < sum(cache.near(key) is not None for key in keys) < 100
    assert cache.near(keys[-1]) is not None, "the least used go first"


def test_where_nothing_is_to_be_kept_nothing_is_and_redis_has_no_part_in_it(clock: Clock) -> None:
    redis = SharedRedis(Redis(), "cozy")
    assert AnswerCache(1, redis, clock=clock).is_shared
    cache = AnswerCache(0, redis, clock=clock)
    assert not cache.is_shared
    cache.keep(["a"], b"[]")
    assert cache.near("a") is None


async def test_an_older_answer_of_another_process_takes_the_place_of_none(
    clock: Clock, redis_url: str, redis_prefix: str
) -> None:
    async with open_redis(redis_url) as client:
        redis = SharedRedis(client, redis_prefix)
        here, there = AnswerCache(10_000, redis, clock=clock), AnswerCache(10_000, redis, clock=clock)
        old = there.keep(["a"], b"old")
        assert old is not None
        await there.share(["a"], old, 60)
        clock.now += 1
        here.keep(["a"], b"new")
        await here.far(["a"])
        await there.far(["a"])
        assert [kept and kept.payload for kept in (here.near("a"), there.near("a"))] == [b"new", b"old"]


async def test_an_answer_of_a_machine_whose_clock_is_ahead_is_good_no_longer_than_others(
    clock: Clock, redis_url: str, redis_prefix: str
) -> None:
    async with open_redis(redis_url) as client:
        redis = SharedRedis(client, redis_prefix)
        await client.set(f"{redis_prefix}:answer:a", f"{clock.now + 86_400}\n[]")
        cache = AnswerCache(10_000, redis, clock=clock)
        await cache.far(["a"])
        assert cache.near("a") == Kept(b"[]", clock.now)


async def test_what_means_something_in_a_pattern_of_redis_stands_for_itself(
    clock: Clock, redis_url: str, redis_prefix: str
) -> None:
    async with open_redis(redis_url) as client:
        redis = SharedRedis(client, f"{redis_prefix}?[b]")
        cache = AnswerCache(10_000, redis, clock=clock)
        await client.set(f"{redis_prefix}xb:answer:a:1", "of another installation")
        for key in ("a:1", "ab"):
            kept = cache.keep([key], b"[]")
            assert kept is not None
            await cache.share([key], kept, 60)
        await cache.drop("a:")
        left = await client.keys(f"{redis_prefix}*")
        assert {key.decode().removeprefix(redis_prefix) for key in left} == {
            "xb:answer:a:1",
            "?[b]:answer:ab",
        }
