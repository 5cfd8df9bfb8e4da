"""Questions to an engine outside: kept, asked once for all, in time, and never somebody else's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import anyio
import pytest
from anyio.abc import TaskGroup
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from cozy.adapters.answer_cache import AnswerCache
from cozy.adapters.breaker import Breaker, BreakerRules
from cozy.adapters.engine_context import ITEMS
from cozy.adapters.guard import Guard
from cozy.adapters.lookups import Asked, Lookups, Shelf
from cozy.adapters.redis_client import open_redis
from cozy.adapters.shared_redis import SharedRedis
from cozy.adapters.sql_generations import EVERYBODY, SqlGenerations
from cozy.errors import (
    EngineAuthError,
    EngineCircuitOpen,
    EngineError,
    EngineInvalidRequest,
    EngineRateLimited,
    EngineUnavailable,
    NotFound,
    StorageError,
)
from cozy.ports.context import Found
from cozy.ports.memory import MemoryItem
from cozy.storage.database import Database, open_database
from cozy.turn import UserId
from tests.clock import LoopClock
from tests.redis_server import PatientRedis, own_redis

ADA, BOB = UserId(UUID(int=1)), UserId(UUID(int=2))
THEN = datetime(2026, 1, 1, tzinfo=UTC)
PATIENCE_S = 20.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Engine:
    """An engine whose answers a test gives."""

    answers: list[str] = field(default_factory=lambda: ["likes tea"])
    error: Exception | None = None
    asked: int = 0
    running: int = 0
    gate: anyio.Event | None = None
    """It answers when this is set."""

    async def search(self) -> Sequence[MemoryItem]:
        self.asked += 1
        self.running += 1
        try:
            if self.gate is not None:
                await self.gate.wait()
            if self.error is not None:
                raise self.error
            return [MemoryItem(str(i), text, THEN, 0.5) for i, text in enumerate(self.answers)]
        finally:
            self.running -= 1


@dataclass
class Place:
    """One process with one engine."""

    lookups: Lookups[MemoryItem]
    engine: Engine
    breaker: Breaker

    async def ask(
        self, query: str = "tea", user: UserId = ADA, *, within_s: float = PATIENCE_S, **facts: object
    ) -> Found[MemoryItem]:
        asked = Asked(user, [query], self.engine.search, kin=["any"], **facts)  # pyright: ignore[reportArgumentType]
        return await self.lookups.ask(asked, until=anyio.current_time() + within_s)

    async def texts(self, query: str = "tea", user: UserId = ADA) -> list[str]:
        found = await self.ask(query, user)
        assert found.error is None
        return [item.text for item in found.items]


Opened = Callable[..., Place]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def tasks() -> AsyncIterator[TaskGroup]:
    async with anyio.create_task_group() as group:
        yield group
        group.cancel_scope.cancel()


def opened(
    database: Database,
    tasks: TaskGroup,
    clock: Clock,
    *,
    redis: SharedRedis | None = None,
    engine: Engine | None = None,
    version: str = "1",
    shared: bool = False,
    ttl_s: float = 60,
) -> Place:
    breaker = Breaker(BreakerRules(failures=3, open_s=5), clock=clock, jitter=lambda: 1.0)
    shelf = Shelf(
        AnswerCache(100_000, redis, clock=clock),
        SqlGenerations(database),
        tasks,
        ttl_s=ttl_s,
        empty_ttl_s=10,
        config_version=version,
    )
    guard = Guard("memory", "mem0", breaker, timeout_s=PATIENCE_S)
    return Place(Lookups(guard, ITEMS, shelf, shared=shared), engine or Engine(), breaker)


@pytest.fixture
async def sqlite(sqlite_url: str) -> AsyncIterator[Database]:
    async with open_database(sqlite_url) as database:
        yield database


@pytest.fixture
def place(sqlite: Database, tasks: TaskGroup, clock: Clock) -> Place:
    return opened(sqlite, tasks, clock)


# -- what is kept --------------------------------------------------------------------------------------


async def test_the_same_question_is_asked_once_in_its_time(place: Place, clock: Clock) -> None:
    first, second = await place.ask(), await place.ask()
    assert first.items == second.items == [MemoryItem("0", "likes tea", THEN, 0.5)]
    assert (first.record.cache, second.record.cache) == ("", "l1")
    assert (second.record.engine, second.record.provider, second.record.outcome) == ("memory", "mem0", "ok")
    assert second.record.items == 1
    clock.now += 60
    assert (await place.ask()).record.cache == ""
    assert place.engine.asked == 2


async def test_another_query_and_another_user_are_other_questions(place: Place) -> None:
    for query, user in (("tea", ADA), ("tee", ADA), ("tea", BOB)):
        assert (await place.ask(query, user)).record.cache == ""
    assert place.engine.asked == 3


async def test_nothing_is_kept_briefly(place: Place, clock: Clock) -> None:
    place.engine.answers = []
    found = await place.ask()
    assert (found.record.outcome, found.error) == ("empty", None)
    clock.now += 9
    assert (await place.ask()).record.cache == "l1"
    clock.now += 2
    place.engine.answers = ["likes tea"]
    assert (await place.ask()).record.outcome == "ok"


async def test_nothing_is_kept_no_longer_than_something(
    sqlite: Database, tasks: TaskGroup, clock: Clock
) -> None:
    place = opened(sqlite, tasks, clock, engine=Engine(answers=[]), ttl_s=5)
    await place.ask()
    clock.now += 6
    assert (await place.ask()).record.cache == ""


async def test_a_failure_is_never_kept(place: Place) -> None:
    place.engine.error = EngineUnavailable("mem0", "is away")
    failed = await place.ask()
    assert (failed.items, failed.record.outcome, failed.record.reason) == (
        (),
        "ENGINE_UNAVAILABLE",
        "mem0: is away",
    )
    place.engine.error = None
    assert await place.texts() == ["likes tea"]


async def test_a_write_makes_what_was_kept_of_the_user_void(place: Place) -> None:
    await place.ask()
    await place.ask(user=BOB)

    async def learn() -> int:
        place.engine.answers = ["likes coffee"]
        return 1

    assert await place.lookups.learn(ADA, learn) == 1
    assert await place.texts() == ["likes coffee"]
    assert (await place.ask(user=BOB)).record.cache == "l1"


async def test_what_is_everybodys_is_old_for_all_when_it_is_changed(
    sqlite: Database, tasks: TaskGroup, clock: Clock
) -> None:
    place = opened(sqlite, tasks, clock, shared=True)

    async def change() -> None: ...

    for user in (ADA, BOB):
        await place.ask(user=user)
    await place.lookups.change(EVERYBODY, change)
    assert [(await place.ask(user=user)).record.cache for user in (ADA, BOB)] == ["", ""]


async def test_a_deletion_whose_outcome_nobody_knows_makes_it_void_too(place: Place) -> None:
    async def fail() -> None:
        raise EngineUnavailable("mem0", "was cut off")

    await place.ask()
    with pytest.raises(EngineUnavailable):
        await place.lookups.change(ADA, fail)
    assert (await place.ask()).record.cache == ""


@pytest.mark.parametrize("call", ["change", "learn"])
async def test_who_leaves_in_the_middle_of_a_write_makes_it_void_all_the_same(
    place: Place, call: str
) -> None:
    await place.ask()
    with anyio.CancelScope() as leaving:

        async def write() -> None:
            leaving.cancel()

        await getattr(place.lookups, call)(ADA, write)
    assert (await place.ask()).record.cache == ""


async def test_what_could_not_be_learned_leaves_what_is_kept(place: Place) -> None:
    async def fail() -> None:
        raise EngineUnavailable("mem0", "is away")

    await place.ask()
    with pytest.raises(EngineUnavailable):
        await place.lookups.learn(ADA, fail)
    assert (await place.ask()).record.cache == "l1"


async def test_what_was_asked_before_a_write_is_not_kept_after_it(place: Place, tasks: TaskGroup) -> None:
    place.engine.gate = gate = anyio.Event()
    tasks.start_soon(place.ask)
    while not place.engine.running:
        await anyio.sleep(0)

    async def forget() -> None:
        place.engine.gate = None

    await place.lookups.change(ADA, forget)
    gate.set()
    while place.engine.running:
        await anyio.sleep(0)
    assert (await place.ask()).record.cache == ""


async def test_processes_without_redis_follow_each_others_writes(
    database: Database, tasks: TaskGroup, clock: Clock
) -> None:
    one, other = opened(database, tasks, clock), opened(database, tasks, clock)
    await one.ask()

    async def forget() -> None:
        one.engine.answers = []

    await other.lookups.change(ADA, forget)
    assert await one.texts() == []


async def test_another_configuration_is_another_question(
    sqlite: Database, tasks: TaskGroup, clock: Clock, redis_url: str, redis_prefix: str
) -> None:
    async with open_redis(redis_url) as client:
        redis = PatientRedis(client, redis_prefix)
        await opened(sqlite, tasks, clock, redis=redis).ask()
        changed = opened(sqlite, tasks, clock, redis=redis, version="2")
        assert (await changed.ask()).record.cache == ""


async def test_an_answer_that_is_too_long_is_given_and_not_kept(place: Place) -> None:
    place.engine.answers = ["茶" * 100_000]
    assert (await place.ask()).record.cache == ""
    assert (await place.ask()).record.cache == ""


# -- one question for all ------------------------------------------------------------------------------


async def all_at_once(place: Place, ask: Callable[[], Awaitable[None]], count: int) -> None:
    """Have so many wait for one answer of the engine."""
    place.engine.gate = anyio.Event()
    waiting = 0

    async def wait() -> None:
        nonlocal waiting
        waiting += 1
        await ask()

    async with anyio.create_task_group() as askers:
        for _ in range(count):
            askers.start_soon(wait)
        while waiting < count or not place.engine.running:
            await anyio.sleep(0)
        for _ in range(50):  # each has a look into the database first
            await anyio.sleep(0.001)
        place.engine.gate.set()


async def test_all_who_ask_the_same_at_once_share_one_question(place: Place) -> None:
    found: list[Found[MemoryItem]] = []

    async def ask() -> None:
        found.append(await place.ask())

    await all_at_once(place, ask, 50)
    assert place.engine.asked == 1
    assert [f.items[0].text for f in found] == ["likes tea"] * 50


async def test_all_who_share_a_question_share_its_failure_and_it_counts_once(place: Place) -> None:
    place.engine.error = EngineUnavailable("mem0", "is away")
    found: list[Found[MemoryItem]] = []

    async def ask() -> None:
        found.append(await place.ask())

    await all_at_once(place, ask, 20)
    assert {f.record.outcome for f in found} == {"ENGINE_UNAVAILABLE"}
    assert place.breaker.state == "closed"


async def test_one_who_leaves_does_not_take_the_answer_from_the_others(place: Place) -> None:
    place.engine.gate = anyio.Event()
    async with anyio.create_task_group() as askers:
        with anyio.CancelScope() as leaving:
            askers.start_soon(place.ask)
            while not place.engine.running:
                await anyio.sleep(0)
            leaving.cancel()
        place.engine.gate.set()
        assert await place.texts() == ["likes tea"]
    assert place.engine.asked == 1


# -- in time -------------------------------------------------------------------------------------------


async def test_one_that_is_late_is_given_up_and_its_answer_serves_the_next(place: Place) -> None:
    place.engine.gate = anyio.Event()
    late = await place.ask(within_s=0.02)
    assert (late.record.outcome, late.record.reason) == (
        "ENGINE_TIMEOUT",
        "mem0: did not answer in time",
    )
    assert 0.02 <= late.record.seconds < 5
    place.engine.gate.set()
    while place.engine.running:
        await anyio.sleep(0)
    assert (await place.ask()).record.cache in ("l1", "")
    assert place.engine.asked == 1


async def test_lateness_counts_though_the_answer_comes_after_all(place: Place, loop_clock: LoopClock) -> None:
    for query in "abc":
        place.engine.gate = anyio.Event()
        async with anyio.create_task_group() as askers:
            askers.start_soon(place.ask, query)
            while not place.engine.running:
                await anyio.sleep(0)
            await loop_clock.pass_by(PATIENCE_S)
        place.engine.gate.set()
        while place.engine.running:
            await anyio.sleep(0)
    assert place.breaker.state == "open"


async def test_a_deadline_that_is_over_is_late_at_once(place: Place) -> None:
    assert (await place.ask(within_s=-1)).record.outcome == "ENGINE_TIMEOUT"


async def test_a_deadline_that_is_over_says_nothing_of_the_engine(place: Place) -> None:
    here = Place(Lookups(place.lookups.guard, ITEMS), place.engine, place.breaker)
    for _ in range(10):
        assert (await here.ask(within_s=-1)).record.outcome == "ENGINE_TIMEOUT"
    assert (place.breaker.state, place.engine.asked) == ("closed", 0)


# -- the breaker ---------------------------------------------------------------------------------------


async def test_an_engine_that_fails_is_left_alone_and_comes_back_by_itself(
    place: Place, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    states: list[str] = []
    place.lookups.guard.watch(lambda engine, name, state: states.append(f"{engine}/{name} {state}"))
    place.engine.error = EngineUnavailable("mem0", "is away")
    for query in "abc":
        await place.ask(query)
    left = await place.ask("d")
    assert left.record.outcome == "ENGINE_CIRCUIT_OPEN"
    assert place.engine.asked == 3
    clock.now += 5
    place.engine.error = None
    assert await place.texts("e") == ["likes tea"]
    assert await place.texts("f") == ["likes tea"]
    told = [(r.message, r.levelname) for r in caplog.records if r.name == "cozy.engines"]
    assert told == [("engine is left alone", "WARNING"), ("engine answers again", "WARNING")]
    assert states == ["memory/mem0 closed", "memory/mem0 open", "memory/mem0 half_open", "memory/mem0 closed"]


async def test_what_is_kept_is_given_while_the_engine_is_left_alone(place: Place) -> None:
    await place.ask()
    place.engine.error = EngineUnavailable("mem0", "is away")
    for query in "abc":
        await place.ask(query)
    assert place.breaker.state == "open"
    assert (await place.ask()).record.cache == "l1"


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (EngineAuthError("mem0", "no"), "open"),
        (EngineInvalidRequest("mem0", "no"), "closed"),
        (NotFound("memory", "x"), "closed"),
        (ValueError("a bug"), "open"),
    ],
    ids=["auth", "invalid", "not found", "a bug"],
)
async def test_which_errors_count(place: Place, error: Exception, state: str) -> None:
    place.engine.error = error

    async def call() -> object:
        return await place.engine.search()

    for _ in range(3):
        with pytest.raises((EngineError, NotFound)):
            await place.lookups.call(call)
    assert place.breaker.state == state


async def test_an_answer_that_cannot_be_kept_is_one_failure_and_the_process_goes_on(place: Place) -> None:
    place.engine.answers = ["\ud800"]
    found = await place.ask()
    assert found.error is not None
    assert "failed with" in found.error.message
    place.engine.answers = ["green tea"]
    assert await place.texts() == ["green tea"]


async def test_what_is_no_error_of_an_engine_does_not_leave_the_question_either(place: Place) -> None:
    place.engine.error = StorageError("the disk is full")
    found = await place.ask()
    assert found.error is not None
    assert found.error.code == "ENGINE_UNAVAILABLE"
    place.engine.error = None
    assert (await place.ask()).error is None


async def test_an_engine_that_asks_for_a_pause_gets_it(place: Place, clock: Clock) -> None:
    place.engine.error = EngineRateLimited("mem0", "too many", retry_after_s=30)
    assert (await place.ask("a")).record.outcome == "ENGINE_RATE_LIMITED"
    assert (await place.ask("b")).record.outcome == "ENGINE_CIRCUIT_OPEN"
    clock.now += 30
    place.engine.error = None
    assert await place.texts("c") == ["likes tea"]


async def test_what_is_cancelled_never_counts(place: Place) -> None:
    place.engine.gate = anyio.Event()

    async def call() -> object:
        return await place.engine.search()

    for _ in range(10):
        with anyio.move_on_after(0.001):
            await place.lookups.call(call)
    assert place.breaker.state == "closed"


async def test_a_probe_that_is_cancelled_is_seen_to_be_none(place: Place, clock: Clock) -> None:
    place.engine.error = EngineUnavailable("mem0", "is away")
    for query in "abc":
        await place.ask(query)
    states: list[str] = []
    place.lookups.guard.watch(lambda engine, name, state: states.append(state))
    clock.now += 5
    with anyio.move_on_after(0.01):
        await place.lookups.call(anyio.sleep_forever)
    assert states == ["open", "half_open", "open"]
    assert place.breaker.enter() is not None


async def test_that_something_is_not_there_is_an_answer(place: Place, clock: Clock) -> None:
    place.engine.error = EngineUnavailable("mem0", "is away")
    for query in "abc":
        await place.ask(query)
    clock.now += 5
    place.engine.error = NotFound("memory", "x")
    with pytest.raises(NotFound):
        await place.lookups.call(place.engine.search)
    assert place.breaker.state == "closed"


async def test_while_one_tries_the_others_are_told_to_wait_a_moment(place: Place, clock: Clock) -> None:
    place.engine.error = EngineRateLimited("mem0", "too many", retry_after_s=1)
    await place.ask()
    clock.now += 1
    assert place.breaker.enter() is not None
    with pytest.raises(EngineCircuitOpen) as caught:
        await place.lookups.call(place.engine.search)
    assert (caught.value.retry_after_s or 0) > 0


async def test_what_may_not_take_long_counts_when_it_does(place: Place) -> None:
    quick = Lookups(Guard("memory", "mem0", place.breaker, timeout_s=0.001), ITEMS)
    for _ in range(3):
        with pytest.raises(EngineError, match="in time"):
            await quick.change(ADA, anyio.sleep_forever)
    assert place.breaker.state == "open"


async def test_a_long_write_that_is_too_long_does_not_take_the_reads_with_it(place: Place) -> None:
    async def learn() -> None:
        await anyio.sleep_forever()

    for _ in range(5):
        with pytest.raises(EngineError, match="in time"):
            await place.lookups.learn(ADA, learn, timeout_s=0.001)
    assert place.breaker.state == "closed"


# -- old answers ---------------------------------------------------------------------------------------


async def test_an_old_answer_is_given_where_the_question_lets_it_pass(place: Place, clock: Clock) -> None:
    await place.ask(stale_s=600)
    clock.now += 300
    place.engine.error = EngineUnavailable("mem0", "is away")
    strict = await place.ask()
    assert strict.error is not None
    old = await place.ask(stale_s=600)
    assert (old.error, old.record.cache, old.record.outcome, old.record.items) == (
        None,
        "stale",
        "ENGINE_UNAVAILABLE",
        1,
    )
    assert old.record.reason == "mem0: is away"
    clock.now += 301
    assert (await place.ask(stale_s=600)).error is not None


async def test_an_answer_to_what_was_said_before_will_do_where_the_question_says_so(place: Place) -> None:
    await place.ask("tea", stale_s=600)
    place.engine.error = EngineUnavailable("mem0", "is away")
    old = await place.ask("coffee", stale_s=600)
    assert (old.record.cache, [item.text for item in old.items]) == ("stale", ["likes tea"])
    assert (await place.ask("coffee", BOB, stale_s=600)).error is not None


async def test_that_there_was_nothing_does_not_take_the_place_of_an_older_answer(place: Place) -> None:
    await place.ask("tea", stale_s=600)
    place.engine.answers = []
    await place.ask("hm", stale_s=600)
    place.engine.error = EngineUnavailable("mem0", "is away")
    old = await place.ask("coffee", stale_s=600)
    assert (old.record.cache, [item.text for item in old.items]) == ("stale", ["likes tea"])


async def test_what_was_forgotten_is_not_given_as_an_old_answer_either(place: Place) -> None:
    await place.ask(stale_s=600)

    async def forget() -> None: ...

    await place.lookups.change(ADA, forget)
    place.engine.error = EngineUnavailable("mem0", "is away")
    assert (await place.ask(stale_s=600)).items == ()


@pytest.mark.parametrize("call", ["change", "learn"])
async def test_nobody_is_told_that_it_is_forgotten_while_others_may_still_give_it(
    place: Place, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    async def hangs(*_: object) -> None:
        await anyio.sleep_forever()

    async def forget() -> None: ...

    monkeypatch.setattr("cozy.adapters.lookups.BUMP_S", 0.01)
    monkeypatch.setattr(SqlGenerations, "bump", hangs)
    with pytest.raises(StorageError, match="the database"):
        await getattr(place.lookups, call)(ADA, forget)
    assert place.breaker.state == "closed"


async def test_what_a_write_makes_old_is_fetched_ahead(place: Place) -> None:
    await place.ask(prefetch=True)

    async def learn() -> None:
        place.engine.answers = ["likes coffee"]

    await place.lookups.learn(ADA, learn)
    with anyio.fail_after(PATIENCE_S):
        while place.engine.asked < 2 or place.engine.running:
            await anyio.sleep(0.001)
    found = await place.ask(prefetch=True)
    assert (found.record.cache, found.items[0].text) == ("l1", "likes coffee")
    assert place.engine.asked == 2
    place.engine.error = EngineUnavailable("mem0", "is away")
    other = await place.ask("something else", prefetch=True)
    assert (other.record.cache, other.items[0].text) == ("stale", "likes coffee")


async def test_what_a_turn_is_asking_already_is_not_fetched_ahead(place: Place, tasks: TaskGroup) -> None:
    place.engine.gate = anyio.Event()
    tasks.start_soon(lambda: place.ask(prefetch=True))
    while not place.engine.running:
        await anyio.sleep(0)
    shelf, asked = place.lookups._shelf, place.lookups._last[ADA]
    assert shelf is not None
    await place.lookups._ask_again(shelf, asked)
    await anyio.wait_all_tasks_blocked()
    assert place.engine.asked == 1


async def test_what_a_user_asked_last_is_forgotten_with_the_user(place: Place) -> None:
    await place.ask(prefetch=True)

    async def nothing() -> int:
        return 0

    await place.lookups.forget(ADA, nothing)
    await place.lookups.learn(ADA, nothing)
    await anyio.wait_all_tasks_blocked()
    assert place.engine.asked == 1


# -- Redis ---------------------------------------------------------------------------------------------


@asynccontextmanager
async def redis_at(url: str, prefix: str) -> AsyncIterator[tuple[SharedRedis, Redis]]:
    async with open_redis(url) as client:
        yield PatientRedis(client, prefix), client


async def test_what_one_process_was_answered_serves_the_others(
    sqlite: Database, tasks: TaskGroup, clock: Clock, redis_url: str, redis_prefix: str
) -> None:
    async with redis_at(redis_url, redis_prefix) as (redis, client):
        one, other = (opened(sqlite, tasks, clock, redis=redis) for _ in range(2))
        await one.ask()
        with anyio.fail_after(PATIENCE_S):
            while not [key async for key in client.scan_iter(f"{redis_prefix}:answer:*", count=1000)]:
                await anyio.sleep(0.001)
        found = await other.ask()
        assert (found.record.cache, found.items) == ("l2", [MemoryItem("0", "likes tea", THEN, 0.5)])
        assert (await other.ask()).record.cache == "l1"
        assert other.engine.asked == 0
        [key] = [key async for key in client.scan_iter(f"{redis_prefix}:answer:*", count=1000)]
        assert 0 < await client.pttl(key) <= 60_000


async def test_of_a_user_who_is_forgotten_nothing_is_left_here_or_in_redis(
    sqlite: Database, tasks: TaskGroup, clock: Clock, redis_url: str, redis_prefix: str
) -> None:
    async with redis_at(redis_url, redis_prefix) as (redis, client):
        here = opened(sqlite, tasks, clock, redis=redis)
        for user in (ADA, BOB):
            await here.texts("tea", user)
        with anyio.fail_after(PATIENCE_S):
            while len(await client.keys(f"{redis_prefix}:answer:*")) < 2:
                await anyio.sleep(0.001)

        async def forget() -> int:
            return 1

        assert await here.lookups.forget(ADA, forget) == 1
        [left] = await client.keys(f"{redis_prefix}:answer:*")
        assert BOB.hex in left.decode()
        assert (await here.ask("tea", BOB)).record.cache == "l1"


async def test_what_was_asked_before_a_user_is_forgotten_does_not_come_to_redis_after_it(
    sqlite: Database, tasks: TaskGroup, clock: Clock, redis_url: str, redis_prefix: str
) -> None:
    async with redis_at(redis_url, redis_prefix) as (redis, client):
        here, other = (opened(sqlite, tasks, clock, redis=redis) for _ in range(2))
        here.engine.gate = anyio.Event()
        async with anyio.create_task_group() as askers:
            askers.start_soon(here.ask)
            while not here.engine.running:
                await anyio.sleep(0)

            async def forget() -> int:
                return 1

            await other.lookups.forget(ADA, forget)
            here.engine.gate.set()
        await here.texts("tea", BOB)
        with anyio.fail_after(PATIENCE_S):
            while not (kept := await client.keys(f"{redis_prefix}:answer:*")):
                await anyio.sleep(0.001)
        assert [BOB.hex in key.decode() for key in kept] == [True]


async def test_nonsense_under_our_keys_is_no_answer(
    sqlite: Database, tasks: TaskGroup, clock: Clock, redis_url: str, redis_prefix: str
) -> None:
    async with redis_at(redis_url, redis_prefix) as (redis, client):
        await opened(sqlite, tasks, clock, redis=redis).ask()
        with anyio.fail_after(PATIENCE_S):
            while not (kept := await client.keys(f"{redis_prefix}:answer:*")):
                await anyio.sleep(0.001)
        for nonsense in (b"", b"\xff", b"1\n{]", b"nan\n[]", b'9e99\n[{"id": 1}]', b"x y\n[]"):
            await client.set(kept[0], nonsense)
            fresh = opened(sqlite, tasks, clock, redis=redis)
            assert await fresh.texts() == ["likes tea"]


async def test_without_redis_this_process_goes_on_by_itself_and_comes_back(
    sqlite: Database, tasks: TaskGroup, clock: Clock, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with own_redis(tmp_path_factory.mktemp("redis")) as server:
        async with open_redis(server.url) as client:
            redis = SharedRedis(client, "cozy", clock=clock)
            here = opened(sqlite, tasks, clock, redis=redis)
            server.hang()
            hung = await here.ask("a")
            assert hung.error is None
            assert redis.degraded
            server.wake()
            server.stop()
            assert await here.texts("b") == ["likes tea"]
            assert (await here.ask("b")).record.cache == "l1"
            server.start()
            with anyio.fail_after(PATIENCE_S):
                while redis.degraded:  # on a busy machine it may be late once more
                    clock.now += 100
                    assert await here.texts(f"c {clock.now}") == ["likes tea"]
                    await anyio.sleep(0.001)  # what is written late may be what finds it there


async def test_a_full_redis_is_one_that_is_away(
    sqlite: Database, tasks: TaskGroup, clock: Clock, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with own_redis(tmp_path_factory.mktemp("redis")) as server:
        async with open_redis(server.url) as client:
            await client.config_set("maxmemory", "1")
            redis = PatientRedis(client, "cozy", clock=clock)
            here = opened(sqlite, tasks, clock, redis=redis)
            assert await here.texts() == ["likes tea"]
            with anyio.fail_after(PATIENCE_S):
                while not redis.degraded:
                    await anyio.sleep(0.001)
            assert (await here.ask()).record.cache == "l1"


async def test_a_full_redis_is_told_of_once_though_it_still_answers_who_reads(
    sqlite: Database,
    tasks: TaskGroup,
    clock: Clock,
    tmp_path_factory: pytest.TempPathFactory,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with own_redis(tmp_path_factory.mktemp("redis")) as server:
        async with open_redis(server.url) as client:
            redis = PatientRedis(client, "cozy", clock=clock)
            here, there = (opened(sqlite, tasks, clock, redis=redis) for _ in range(2))
            await here.texts("kept")
            with anyio.fail_after(PATIENCE_S):
                while not await client.dbsize():
                    await anyio.sleep(0.001)
            await client.config_set("maxmemory", "1")
            for number in range(5):
                await here.texts(f"{number}")
                with anyio.fail_after(PATIENCE_S):
                    while not redis.degraded:
                        await anyio.sleep(0.001)
                if number == 0:
                    assert (await there.ask("kept")).record.cache == "l2"
                clock.now += 100
                assert redis.degraded
            assert [r.message for r in caplog.records if r.name == "cozy.redis"] == [
                "redis takes nothing more: this process goes on by itself"
            ]
            await client.config_set("maxmemory", "0")
            with anyio.fail_after(PATIENCE_S):
                while redis.degraded:  # what is written late may have used up the moment to ask again
                    clock.now += 100
                    await here.texts(f"at last {clock.now}")
                    await anyio.sleep(0.001)
            server.stop()
            clock.now += 1000
            await here.texts("gone")
            assert redis.degraded


# -- users apart ---------------------------------------------------------------------------------------


STEPS = st.lists(
    st.tuples(st.sampled_from([ADA, BOB]), st.sampled_from(["ask", "learn", "fail"]), st.sampled_from("xy")),
    max_size=20,
)


@given(STEPS)
@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_nobody_is_ever_given_what_another_was_answered(
    sqlite: Database, tasks: TaskGroup, clock: Clock, steps: list[tuple[UserId, str, str]]
) -> None:
    here = opened(sqlite, tasks, clock)
    said = {ADA: 0, BOB: 0}
    for user, step, query in steps:
        here.engine.answers = [f"{user.int}:{said[user]}"]
        here.engine.error = EngineUnavailable("mem0", "is away") if step == "fail" else None
        if step == "learn":

            async def learn() -> None: ...

            with suppress(EngineCircuitOpen):
                await here.lookups.learn(user, learn)
                said[user] += 1
            continue
        found = await here.ask(query, user, stale_s=600)
        assert all(item.text == f"{user.int}:{said[user]}" for item in found.items)
