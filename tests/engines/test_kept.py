"""What is kept of engines, as turns see it: fetched ahead, old where that will do, gone once forgotten."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest

from cozy.adapters.sql_erasure import SqlErasures
from cozy.adapters.sql_generations import SqlGenerations
from cozy.app import engine_targets
from cozy.ports.context import EMBEDDED
from cozy.ports.operations import AuditEvent
from cozy.storage.outbox import SqlOutbox
from tests.engines.house import SILENT, House, house_in, prompt_of, records

PATIENCE_S = 30.0
AHEAD = """\
    prefetch: true
  remember:
    type: writeback
"""
OLD = f"    stale: 10m\n{SILENT}"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with house_in(tmp_path, personality=OLD, context="breaker_open_s = 0.1") as house:
        yield house


async def until(done: Callable[[], bool]) -> None:
    with anyio.fail_after(PATIENCE_S):
        while not done():
            await anyio.sleep(0.005)


async def test_what_a_turn_has_taught_is_fetched_ahead_for_the_next(tmp_path: Path) -> None:
    async with house_in(tmp_path, personality=AHEAD) as house:
        ada = await house.user()
        await house.say("I like oolong", ada)
        asked = house.diary.asked["POST /search"]
        await until(lambda: house.diary.asked["POST /search"] > asked)
        await until(lambda: any("oolong" in memory.text for memory in house.diary.of(str(ada))))
        await house.diary.be("hanging")
        done = await house.say("and what else?", ada, "mia_memory")
        found = records(done.trace)["memory"]
        assert (found.cache, found.outcome) == ("stale", "ENGINE_TIMEOUT")
        assert "oolong" in prompt_of(done.trace)
        await house.diary.be("well")  # so that what is left to be learned is learned


async def test_an_old_memory_will_do_where_the_personality_says_so(house: House) -> None:
    ada = await house.user()
    await house.say("tea?", ada)
    await house.diary.be("500")
    done = await house.say("what do I like?", ada)
    found = records(done.trace)["memory"]
    assert (found.cache, found.outcome, found.items) == ("stale", "ENGINE_UNAVAILABLE", 1)
    assert found.reason
    assert [s.outcome for s in done.trace.stages if s.id == "memory"] == ["done"]
    assert "Ada likes tea" in prompt_of(done.trace)


async def test_what_was_forgotten_is_in_no_prompt_however_it_was_kept(house: House) -> None:
    ada = await house.user()
    await house.say("tea?", ada)
    assert await house.app.memories.forget(ada) == 1
    await house.app.profiles.forget(ada)
    for fault in ("well", "500"):
        for engine in (house.diary, house.people):
            await engine.be(fault)
        assert "Ada likes tea" not in prompt_of((await house.say("tea?", ada)).trace)


async def test_a_process_that_keeps_nothing_tells_those_that_do_of_its_changes(
    tmp_path: Path,
) -> None:
    async with house_in(tmp_path, context="cache_bytes = 0") as house:
        ada = await house.user()
        for _ in range(2):
            found = records((await house.say("tea?", ada)).trace)["memory"]
            assert (found.cache, found.outcome) == ("", "ok")
        await house.app.memories.forget(ada)
        assert await SqlGenerations(house.app.database).of(ada, "memory/diary") == 1


async def test_a_document_that_is_added_is_seen_by_everybody_at_once(house: House) -> None:
    ada = await house.user()
    for cache in ("", "l1"):
        assert records((await house.say("tea?", ada)).trace)["knowledge"].cache == cache
    await house.app.knowledge.add(dataset="plants", name="mint.md", text="Mint tea wants boiling water.")
    assert records((await house.say("tea?", ada)).trace)["knowledge"].cache == ""


async def test_each_engine_has_the_time_that_its_configuration_gives_it(house: House) -> None:
    context = house.app.context
    for engines in (context.knowledges, context.profiles, context.memories):
        for name, engine in engines.items():
            if name != EMBEDDED:
                given = house.app.settings.engines[name]
                assert engine.learn_timeout_s == given.learn_timeout_s
                assert engine.lookups.guard.timeout_s == given.timeout_s


async def test_who_stops_does_not_wait_for_a_question_that_nobody_waits_for(tmp_path: Path) -> None:
    async with house_in(tmp_path) as house:
        ada = await house.user()
        await house.diary.be("hanging")
        await house.say("tea?", ada, "mia_memory")
        waits_s = house.app.settings.engines["diary"].timeout_s
        began = anyio.current_time()
    assert anyio.current_time() - began < waits_s / 2


async def test_an_erased_user_is_forgotten_at_once_and_by_engines_that_were_away_in_the_end(
    house: House,
) -> None:
    ada, bob = await house.user(), await house.user(knows="Bob likes chess")
    await house.say("tea?", ada)
    for engine in (house.diary, house.people):
        await engine.be("refused")
    erasures = SqlErasures(house.app.database, engine_targets(house.app.settings))
    await erasures.erase(ada, AuditEvent("user.erased"))
    house.app.worker.wake()
    assert "Ada likes tea" not in prompt_of((await house.say("tea?", ada)).trace)
    assert {w.target for w in (await erasures.state(ada)).waiting} >= {"memory/diary", "profile/people"}
    for engine in (house.diary, house.people):
        await engine.be("well")
    outbox = SqlOutbox(house.app.database)
    with anyio.fail_after(PATIENCE_S):
        while await outbox.depth():
            await anyio.sleep(0.02)
    assert (await erasures.state(ada)).waiting == []
    assert house.diary.of(str(ada)) == []
    assert len(house.diary.of(str(bob))) == 1
    assert "Ada likes tea" not in prompt_of((await house.say("tea?", ada)).trace)
