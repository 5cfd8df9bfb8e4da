"""What each source brings to a turn."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from cozy.adapters.sql_store import SqlStore
from cozy.errors import TemplateFailed
from cozy.ports.knowledge import Passage
from cozy.ports.memory import MemoryItem
from cozy.ports.profile import ProfileFact
from cozy.ports.store import TurnRecord
from cozy.stages.base import NodeInfo
from cozy.stages.conversation import NOT_GIVEN
from cozy.stages.fetch_context import MOST_FACTS, FetchContext, FetchContextSettings
from cozy.stages.templates import Expression
from cozy.stages.values import ContextPart, Intent, Snippet
from cozy.storage.database import open_database
from cozy.turn import Message, SessionId, ToolCall, TurnId, UserId
from tests.stages.seat import ADA, Seat, ports, turn


async def fetched(here: Seat, source: str, **settings: Any) -> ContextPart:
    stage = FetchContext(FetchContextSettings(type="fetch_context", source=source, **settings))
    return await stage.run(here)


# -- history and summary: from the store ------------------------------------------------------------------


@dataclass
class Stored:
    """A user with a session in a real store."""

    store: SqlStore
    user: UserId
    session: SessionId

    def seat(self, **facts: Any) -> Seat:
        said = turn(**{"user_id": self.user, "session_id": self.session} | facts)
        return Seat(turn=said, ports=ports(store=self.store))

    async def say(self, *texts: str) -> list[TurnId]:
        """An exchange for each text."""
        ids: list[TurnId] = []
        for text in texts:
            ids.append(TurnId(uuid4()))
            said = (Message("user", text), Message("assistant", f"re: {text}"))
            await self.store.save_turn(
                TurnRecord(ids[-1], self.user, self.session, "mia", said, "complete", 0, {})
            )
        return ids


@pytest.fixture
async def stored(sqlite_url: str) -> AsyncIterator[Stored]:
    async with open_database(sqlite_url) as database:
        store = SqlStore(database)
        user = await store.user("ada")
        yield Stored(store, user, (await store.create_session(user, "mia")).id)


def texts(part: ContextPart) -> list[str]:
    return [message.content for message in part.messages]


async def test_the_history_is_the_sessions_last_messages(stored: Stored) -> None:
    await stored.say("一", "二", "三")
    part = await fetched(stored.seat(), "history", limit=4)
    assert part.section == "history"
    assert texts(part) == ["二", "re: 二", "三", "re: 三"]


async def test_a_history_that_the_client_brings_is_the_history(stored: Stored) -> None:
    await stored.say("stored")
    brought = tuple(Message("user", str(i)) for i in range(5))
    assert texts(await fetched(stored.seat(history=brought), "history", limit=2)) == ["3", "4"]


@pytest.mark.parametrize(("limit", "left"), [(9, ["几点了", "", "12", "十二点"]), (3, []), (1, [])])
async def test_a_history_begins_with_words_of_the_user(limit: int, left: list[str]) -> None:
    call = ToolCall("c1", "clock", "{}")
    brought = (
        Message("assistant", "你好！"),
        Message("user", "几点了"),
        Message("assistant", tool_calls=(call,)),
        Message("tool", "12", tool_call_id="c1"),
        Message("assistant", "十二点"),
    )
    assert texts(await fetched(Seat(turn=turn(history=brought)), "history", limit=limit)) == left


async def test_a_stored_history_begins_with_words_of_the_user(stored: Stored) -> None:
    await stored.say("一", "二")
    assert texts(await fetched(stored.seat(), "history", limit=3)) == ["二", "re: 二"]


async def test_a_call_that_nobody_answered_gets_an_answer(stored: Stored) -> None:
    call = ToolCall("c1", "basket", "{}")
    said = (Message("user", "一"), Message("assistant", tool_calls=(call,)))
    record = TurnRecord(TurnId(uuid4()), stored.user, stored.session, "mia", said, "complete", 0, {})
    await stored.store.save_turn(record)
    await stored.say("二")
    mended = ["一", "", NOT_GIVEN, "二", "re: 二"]
    part = await fetched(stored.seat(), "history")
    assert (texts(part), part.messages[2].tool_call_id) == (mended, "c1")
    brought = (*said, Message("user", "二"), Message("assistant", "re: 二"))
    assert texts(await fetched(Seat(turn=turn(history=brought)), "history")) == mended


async def test_a_turn_that_resumes_another_sees_what_that_one_saw(stored: Stored) -> None:
    _, second = await stored.say("一", "二")
    assert texts(await fetched(stored.seat(resumes=second), "history")) == ["一", "re: 一"]


async def test_a_client_that_brings_an_empty_history_wants_none(stored: Stored) -> None:
    await stored.say("stored")
    assert texts(await fetched(stored.seat(history=()), "history")) == []


async def test_a_turn_that_is_said_again_does_not_see_its_first_attempt(stored: Stored) -> None:
    _, second = await stored.say("一", "二")
    assert texts(await fetched(stored.seat(retry_of=second), "history")) == ["一", "re: 一"]


@pytest.mark.parametrize("source", ["history", "summary"])
async def test_a_turn_without_a_session_has_no_past(source: Any) -> None:
    assert await fetched(Seat(turn=turn(session_id=None)), source) == ContextPart(source)


async def test_a_session_without_a_summary_brings_none(stored: Stored) -> None:
    assert await fetched(stored.seat(), "summary") == ContextPart("summary")


async def test_a_summary_is_one_snippet() -> None:
    class Store:
        async def summary(self, user_id: UserId, session_id: SessionId) -> str:
            return "他们谈到了茶。"

    part = await fetched(Seat(ports=ports(store=Store())), "summary")
    assert part == ContextPart("summary", (Snippet("他们谈到了茶。"),))


# -- knowledge, profile and memory: from their engines ------------------------------------------------------


@dataclass
class Engines:
    """The three engines, with what they were asked."""

    passages: Sequence[Passage] = ()
    items: Sequence[MemoryItem] = ()
    told: Sequence[ProfileFact] = ()
    asked: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])

    def seat(self) -> Seat:
        knowledge, memories = _Knowledge(self), _Memories(self)
        return Seat(turn=turn("喝什么茶"), ports=ports(knowledge=knowledge, memories=memories, profiles=self))

    async def facts(self, user_id: UserId, *, max_tokens: int | None = None) -> Sequence[ProfileFact]:
        self.asked.append((user_id, max_tokens))
        return self.told


@dataclass
class _Knowledge:
    engines: Engines

    async def search(
        self, query: str, *, user_id: UserId, datasets: Sequence[str], top_k: int
    ) -> Sequence[Passage]:
        self.engines.asked.append((query, user_id, tuple(datasets), top_k))
        return self.engines.passages


@dataclass
class _Memories:
    engines: Engines

    async def search(self, query: str, *, user_id: UserId, top_k: int) -> Sequence[MemoryItem]:
        self.engines.asked.append((query, user_id, top_k))
        return self.engines.items


def passage(text: str, score: float) -> Passage:
    return Passage(f"id of {text}", text, "tea.md", "drinks", score)


async def test_knowledge_is_searched_for_the_users_words_in_the_named_datasets() -> None:
    engines = Engines(passages=[passage("hot", 0.9), passage("wet", 0.2)])
    part = await fetched(engines.seat(), "knowledge", top_k=3, datasets=("drinks",))
    assert engines.asked == [("喝什么茶", ADA, ("drinks",), 3)]
    assert part.snippets[0] == Snippet("hot", "tea.md", 0.9, "id of hot")


def by_expression(engines: Engines, source: str) -> Seat:
    """A seat whose `top_k` is asked of the turn."""
    expression = Expression("3 if intent.label == 'small_talk' else turn.text|length * 10", "mia: top_k")
    return replace(engines.seat(), node=NodeInfo(source, expressions={"top_k": expression}))


@pytest.mark.parametrize("source", ["knowledge", "memory"])
@pytest.mark.parametrize(("label", "expected"), [("small_talk", 3), ("other", 40)])
async def test_how_many_snippets_may_depend_on_the_turn(source: Any, label: str, expected: int) -> None:
    engines = Engines()
    here = replace(by_expression(engines, source), values={"intent": Intent(label)})
    await fetched(here, source, top_k="asked of the turn")
    assert [asked[-1] for asked in engines.asked] == [expected]


async def test_a_number_of_snippets_that_is_none_asks_no_engine() -> None:
    engines = Engines()
    here = replace(by_expression(engines, "memory"), turn=turn("喝" * 11), values={"intent": Intent("other")})
    with pytest.raises(TemplateFailed, match="gives 110, not a whole number from 1 to 100"):
        await fetched(here, "memory", top_k="asked of the turn")
    assert engines.asked == []


async def test_what_fits_less_well_than_wanted_is_left_out() -> None:
    engines = Engines(
        passages=[passage("hot", 0.9), passage("wet", 0.2)],
        items=[_item("likes tea", 0.9), _item("likes rain", 0.1), _item("newest", None)],
    )
    knowledge = await fetched(engines.seat(), "knowledge", min_score=0.5)
    memory = await fetched(engines.seat(), "memory", min_score=0.5)
    assert [s.text for s in knowledge.snippets] == ["hot"]
    assert [s.text for s in memory.snippets] == ["likes tea", "newest"]


def _item(text: str, score: float | None) -> MemoryItem:
    return MemoryItem(f"id of {text}", text, datetime(2025, 1, 1, tzinfo=UTC), score)


async def test_memory_is_searched_for_the_users_words() -> None:
    engines = Engines(items=[_item("likes tea", 0.9)])
    part = await fetched(engines.seat(), "memory", top_k=2)
    assert engines.asked == [("喝什么茶", ADA, 2)]
    assert part == ContextPart("memory", (Snippet("likes tea", "", 0.9, "id of likes tea"),))


async def test_a_profile_fact_is_named_by_what_it_is_about() -> None:
    engines = Engines(told=[ProfileFact("1", "basic_info", "name", "小明", datetime(2025, 1, 1, tzinfo=UTC))])
    part = await fetched(engines.seat(), "profile", max_tokens=500)
    assert engines.asked == [(ADA, 500)]
    assert part == ContextPart("profile", (Snippet("name: 小明", "basic_info", None, "1"),))


async def test_of_an_endless_profile_the_beginning_is_taken() -> None:
    then = datetime(2025, 1, 1, tzinfo=UTC)
    engines = Engines(told=[ProfileFact(f"{i}", "a", "b", f"fact {i}", then) for i in range(MOST_FACTS + 1)])
    part = await fetched(engines.seat(), "profile")
    assert len(part.snippets) == MOST_FACTS
    assert part.snippets[0].text == "b: fact 0"


@pytest.mark.parametrize("source", ["history", "summary", "knowledge", "profile", "memory"])
def test_the_empty_value_of_a_source_is_an_empty_part_of_its_section(source: Any) -> None:
    stage = FetchContext(FetchContextSettings(type="fetch_context", source=source))
    assert stage.empty() == ContextPart(source)
    assert not stage.empty()  # so that templates can ask `if`


@pytest.mark.parametrize("source", ["knowledge", "profile", "memory"])
async def test_of_a_turn_that_is_not_personal_nobody_is_asked(source: str) -> None:
    here = Seat(turn=turn(personalized=False))  # there is nobody to ask
    assert await fetched(here, source) == ContextPart(source)
