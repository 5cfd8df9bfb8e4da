"""Engines that go away under load and come back: degraded, then recovered, without a restart."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cozy.errors import EngineError
from cozy.storage.outbox import SqlOutbox
from cozy.turn import UserId
from tests.engines.house import PLACES, SILENT, House, house_in, prompt_of, records

QUICK = "breaker_failures = 3\nbreaker_open_s = 0.1\nbreaker_longest_s = 0.2"
ASKED = "How hot is the water for tea?"
PATIENCE_S = 30.0


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with house_in(tmp_path, context=QUICK) as house:
        yield house


async def test_engines_stop_and_start_again_under_load(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    users = [await house.user() for _ in range(4)]
    outcomes: dict[str, list[str]] = {place: [] for place in PLACES}
    stop = anyio.Event()

    async def talk(user_id: UserId) -> None:
        number = 0
        while not stop.is_set():
            number += 1  # so that nothing kept answers
            done = await house.say(f"{ASKED} {number}", user_id)
            for place, record in records(done.trace).items():
                if not record.cache:
                    outcomes[place].append(record.outcome)

    async def until(*wanted: str) -> None:
        """Every engine has come to this again; a profile is kept, whatever is asked."""
        marks = {place: len(told) for place, told in outcomes.items()}
        with anyio.fail_after(PATIENCE_S):
            while not all(
                set(wanted) <= set(outcomes[place][marks[place] :]) for place in ("knowledge", "memory")
            ):
                await anyio.sleep(0.01)

    async with anyio.create_task_group() as tasks:
        for user_id in users:
            tasks.start_soon(talk, user_id)
        await until("ok")
        for engine in house.engines.values():
            await engine.be("refused")
        await until("ENGINE_UNAVAILABLE", "ENGINE_CIRCUIT_OPEN")
        for engine in house.engines.values():
            await engine.be("well")
        await until("ok")
        stop.set()
    told = [(r.message, r.__dict__["provider"]) for r in caplog.records if r.name == "cozy.engines"]
    for name in ("wiki", "diary"):
        assert told.index(("engine is left alone", name)) < told.index(("engine answers again", name))
    assert all(r.levelno == logging.WARNING for r in caplog.records if r.name == "cozy.engines")


async def test_writeback_waits_for_an_engine_that_dies_for_a_while(tmp_path: Path) -> None:
    async with house_in(tmp_path, context=QUICK, personality="") as house:
        users = [await house.user() for _ in range(4)]
        before = len(house.diary.memories)
        await house.diary.be("refused")
        said: dict[UserId, list[str]] = {user_id: [] for user_id in users}

        async def talk(user_id: UserId) -> None:
            for number in range(5):
                text = f"I own {number} teapots"
                said[user_id].append(text)
                await house.say(text, user_id)

        async with anyio.create_task_group() as tasks:
            for user_id in users:
                tasks.start_soon(talk, user_id)
        outbox = SqlOutbox(house.app.database)
        assert await outbox.depth() >= 4 * 5
        assert len(house.diary.memories) == before
        await house.diary.be("well")
        with anyio.fail_after(PATIENCE_S):
            while house.guard("memory").breaker.state != "closed":  # a turn would find that out
                with suppress(EngineError):
                    await house.app.memories.items(users[0])
                await anyio.sleep(0.05)
            while await outbox.depth():
                house.app.worker.wake()  # as every turn does: it need not wait until it looks by itself
                await anyio.sleep(0.05)
        for user_id in users:
            learned = [memory.text for memory in house.diary.of(str(user_id))]
            assert learned[1:] == said[user_id], "each once, in order"


WORDS = st.sampled_from(["tea", "coffee", "cats", "茶", "咖啡", "猫", "Paris", "巴黎", "chess", "围棋"])
SENTENCES = st.lists(st.tuples(st.booleans(), WORDS), min_size=1, max_size=6)


@pytest.fixture(scope="module")
async def silent(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house_in(tmp_path_factory.mktemp("apart"), personality=SILENT) as house:
        yield house


@given(SENTENCES, WORDS)
@settings(
    max_examples=10,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_neither_of_two_users_sees_a_word_that_only_the_other_said(
    silent: House, sentences: list[tuple[bool, str]], asked: str
) -> None:
    """Each user's words carry a mark; whatever was said, and kept, no mark is seen by the other."""
    ada, bob = await silent.user(knows="ADAMARK"), await silent.user(knows="BOBMARK")
    for is_ada, word in sentences:
        user_id, mark = (ada, "ADAMARK") if is_ada else (bob, "BOBMARK")
        with suppress(Exception):
            await silent.app.memories.add(user_id, f"{mark} likes {word}")
        await silent.say(f"Do I like {word}?", user_id)
    for user_id, other in ((ada, "BOBMARK"), (bob, "ADAMARK")):
        done = await silent.say(f"Do I like {asked}?", user_id)
        assert other not in prompt_of(done.trace)
