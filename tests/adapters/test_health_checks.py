"""How the things outside do: ok, degraded, down, and never for long."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest

from cozy.adapters.breaker import BreakerRules
from cozy.adapters.engine_context import guard
from cozy.adapters.health_checks import (
    PATIENCE_S,
    cached,
    database_check,
    engine_check,
    model_server_check,
    personalities_check,
    redis_check,
)
from cozy.adapters.redis_client import open_redis
from cozy.adapters.redis_limits import RedisLimits
from cozy.adapters.shared_redis import SharedRedis
from cozy.errors import EngineAuthError
from cozy.interfaces.http.health import Dependency
from cozy.ports.context import EngineChoice
from cozy.ports.limits import Rate
from cozy.ports.operations import DependencyHealth, Reload, ReloadState
from cozy.storage.database import Database, open_database
from tests.redis_server import own_redis

RATE = Rate(1, 60, 10)


async def test_a_database_that_answers_is_ok(database: Database) -> None:
    health = await database_check(database)()
    assert (health.name, health.condition, health.reason, health.vital) == ("database", "ok", "", True)
    assert health.latency_ms is not None
    assert health.latency_ms < 2000


async def test_a_database_that_has_gone_is_down(sqlite_url: str) -> None:
    async with open_database(sqlite_url) as database:
        check = database_check(database)
    health = await check()
    assert (health.condition, health.reason) == ("down", "the database is closed")


async def test_redis_away_degrades_and_never_takes_the_service_down(tmp_path: Path) -> None:
    with own_redis(tmp_path) as server:
        async with open_redis(server.url) as client:
            redis = SharedRedis(client, "cozy", clock=lambda: 0.0)
            limits, check = RedisLimits(redis), redis_check(redis)
            assert (await check()).condition == "ok"
            server.stop()
            gone = await check()
            assert (gone.condition, gone.vital) == ("down", False)
            assert gone.reason == "nothing listens at its address"
            await limits.take("ada", RATE)
            server.start()
            health = await check()
            assert (health.condition, health.reason) == (
                "degraded",
                "this process counts and caches for itself",
            )


async def test_one_that_hangs_is_down_after_two_seconds(tmp_path: Path) -> None:
    with own_redis(tmp_path) as server:
        async with open_redis(server.url) as client:
            server.hang()
            began = anyio.current_time()
            health = await redis_check(SharedRedis(client, "cozy"))()
            assert health.condition == "down"
            assert anyio.current_time() - began < PATIENCE_S + 20
            server.wake()


async def test_of_an_engine_everybody_is_told_its_class_of_failure_and_none_of_its_words() -> None:
    error = EngineAuthError("house", "refused our credentials: Bob hid the gold")

    async def probe() -> None:
        raise error

    at_work = guard("memory", EngineChoice(memory="house"))
    down = Dependency.of(await engine_check(at_work, probe)())
    assert (down.status, down.reason) == ("down", "it does not let this server in")
    for _ in range(BreakerRules().failures):
        with suppress(EngineAuthError), at_work.attempt():
            raise error
    alone = Dependency.of(await engine_check(at_work, probe)())
    assert alone.status == "degraded"
    assert re.fullmatch(r"left alone for another \d s: it does not let this server in", alone.reason)


async def test_files_with_errors_degrade_and_are_told_a_line_each() -> None:
    state = ReloadState(Reload(datetime.now(UTC)))
    check = personalities_check(state)
    assert (await check()).condition == "ok"
    state.last = Reload(datetime.now(UTC), errors=7, lines=[f"a.yaml:{i}:1: wrong [CZ001]" for i in range(7)])
    health = await check()
    assert health.condition == "degraded"
    assert health.reason.startswith("the last good ones are in use; a.yaml:0:1: wrong [CZ001]; ")
    assert health.reason.endswith("a.yaml:4:1: wrong [CZ001]; and 2 more")


async def test_a_model_server_is_reached_or_not() -> None:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener:
        health = await model_server_check("house", f"http://ada:hunter2@127.0.0.1:{port}/v1")()
    assert (health.name, health.condition, health.vital) == ("model/house", "ok", False)
    gone = await model_server_check("house", f"http://ada:hunter2@127.0.0.1:{port}/v1")()
    assert (gone.condition, gone.reason, gone.vital) == ("down", "nothing listens at its address", False)
    unknown = await model_server_check("house", "http://ada:hunter2@nobody.invalid/v1")()
    assert (unknown.condition, unknown.reason) == ("down", "its host is not known")


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999/v1", "http:///v1", "nonsense"])
async def test_an_address_that_is_none_is_down(url: str) -> None:
    assert (await model_server_check("house", url)()).condition == "down"


async def test_callers_share_an_answer_until_it_is_old() -> None:
    asked = 0

    async def check() -> DependencyHealth:
        nonlocal asked
        asked += 1
        await anyio.sleep(0.01)
        return DependencyHealth("x", "ok")

    shared = cached(check, fresh_s=0.1)
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(shared)
    assert asked == 1
    await anyio.sleep(0.12)
    await shared()
    assert asked == 2
