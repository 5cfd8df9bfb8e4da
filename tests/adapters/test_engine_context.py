"""Questions of turns to engines: what is searched for, and which are the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import anyio
import pytest
from anyio.abc import TaskGroup

from cozy.adapters.answer_cache import AnswerCache
from cozy.adapters.breaker import Breaker, BreakerRules
from cozy.adapters.engine_context import FACTS, ITEMS, PASSAGES, EngineContext
from cozy.adapters.guard import Guard
from cozy.adapters.guarded_engines import LONGEST_QUERY, GuardedKnowledge, GuardedMemories, GuardedProfiles
from cozy.adapters.lookups import Lookups, Shelf
from cozy.adapters.scripted_engines import ScriptedKnowledge, ScriptedMemories, ScriptedProfiles
from cozy.adapters.sql_generations import SqlGenerations
from cozy.ports.context import EMBEDDED, EngineKind, Question
from cozy.storage.database import Database, open_database
from cozy.turn import UserId

ADA, BOB = UserId(UUID(int=1)), UserId(UUID(int=2))


@pytest.fixture
async def database(sqlite_url: str) -> AsyncIterator[Database]:
    async with open_database(sqlite_url) as database:
        yield database


@pytest.fixture
async def tasks() -> AsyncIterator[TaskGroup]:
    async with anyio.create_task_group() as group:
        yield group
        group.cancel_scope.cancel()


async def test_of_a_very_long_message_its_beginning_and_its_end_are_searched_for() -> None:
    knowledge, memories = ScriptedKnowledge({}), ScriptedMemories({})
    context = EngineContext.of(knowledge, ScriptedProfiles({}), memories)
    question = Question(ADA, query="begin " + "x" * 1_000_000 + " end")
    await context.knowledge(question)
    await context.memory(question)
    await context.knowledges[EMBEDDED].search(question.query, user_id=ADA, datasets=(), top_k=1)
    await context.memories[EMBEDDED].search(question.query, user_id=ADA, top_k=1)
    for search in (*knowledge.searches, *memories.searches):
        assert search.query.startswith("begin ")
        assert search.query.endswith(" end")
        assert len(search.query) <= LONGEST_QUERY
    assert (len(knowledge.searches), len(memories.searches)) == (2, 2)


async def test_which_questions_of_turns_are_the_same(database: Database, tasks: TaskGroup) -> None:
    def engine(port: Any, guarded: Any, kind: EngineKind, codec: Any) -> dict[str, Any]:
        guard = Guard(kind, "x", Breaker(BreakerRules()), timeout_s=30)
        return {"x": guarded(port, Lookups(guard, codec, shelf))}

    shelf = Shelf(AnswerCache(100_000), SqlGenerations(database), tasks, 600, 600, "1")

    context = EngineContext(
        engine(ScriptedKnowledge({}), GuardedKnowledge, "knowledge", PASSAGES),
        engine(ScriptedProfiles({}), GuardedProfiles, "profile", FACTS),
        engine(ScriptedMemories({}), GuardedMemories, "memory", ITEMS),
    )

    async def is_new(kind: EngineKind, **facts: Any) -> bool:
        found = await getattr(context, kind)(
            Question(**{"user_id": ADA, "engine": "x", "query": "茶"} | facts)
        )
        assert found.error is None
        return found.record.cache == ""

    assert await is_new("knowledge", datasets=("a", "b"))
    assert not await is_new("knowledge", datasets=("b", "a"))
    assert await is_new("knowledge", datasets=("a",))
    assert await is_new("knowledge", datasets=("a", "b"), top_k=6)
    assert await is_new("knowledge", datasets=("a", "b"), query="Tea")
    assert await is_new("knowledge", datasets=("a", "b"), query="tea")
    assert await is_new("knowledge", datasets=("a", "b"), user_id=BOB)
    assert await is_new("memory")
    assert not await is_new("memory")
    assert await is_new("memory", top_k=6)
    assert await is_new("memory", query="茶?")
    assert await is_new("memory", user_id=BOB)
    assert await is_new("profile")
    assert not await is_new("profile", query="another")
    assert await is_new("profile", max_tokens=100)
    assert await is_new("profile", user_id=BOB)
