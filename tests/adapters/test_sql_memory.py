from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

import anyio
import pytest
from sqlalchemy import delete, func, select, text

from cozy.adapters import sql_memory as module
from cozy.adapters.extraction import Extractor
from cozy.adapters.sql_memory import SqlMemories
from cozy.adapters.sql_store import SqlStore
from cozy.errors import EngineInvalidRequest, EngineRateLimited, EngineUnavailable, NotFound
from cozy.storage.context_tables import learned_turns
from cozy.storage.context_tables import memories as table
from cozy.storage.database import Database
from cozy.storage.tables import users
from cozy.turn import TurnId, UserId
from tests.adapters.teaching import AnsweringLLM, exchange
from tests.databases import plan_of

REAL = "openai/gpt-4.1-mini"


@pytest.fixture
async def memories(database: Database) -> SqlMemories:
    return SqlMemories(database, Extractor(AnsweringLLM()))


@pytest.fixture
async def ada(database: Database) -> UserId:
    return await SqlStore(database).user("ada")


@pytest.fixture
async def bo(database: Database) -> UserId:
    return await SqlStore(database).user("bo")


async def tell(memories: SqlMemories, user_id: UserId, *said: str) -> None:
    for words in said:
        await memories.learn(exchange(user_id, words))


async def kept(memories: SqlMemories, user_id: UserId) -> list[str]:
    return [item.text for item in await memories.items(user_id)]


async def found(memories: SqlMemories, user_id: UserId, query: str, top_k: int = 5) -> list[str]:
    return [item.text for item in await memories.search(query, user_id=user_id, top_k=top_k)]


async def test_what_was_told_is_kept_newest_first(memories: SqlMemories, ada: UserId) -> None:
    assert await memories.learn(exchange(ada, "My name is Ada and I live in Rome.", "Hi Ada!")) == 2
    assert await memories.learn(exchange(ada, "我喜欢喝茶")) == 1
    assert await kept(memories, ada) == ["用户喜欢喝茶", "The user lives in Rome", "The user's name is Ada"]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("what is my name?", "The user's name is Ada"),
        ("Where do I live these days?", "The user lives in Rome"),
        ("what am I allergic to", "The user is allergic to peanuts"),
        ("我叫什么名字？", "用户的名字是小明"),
        ("我住在哪里", "用户住在北京"),
        ("推荐一种茶", "用户喜欢喝茶"),
        ("我对什么过敏", "用户对花生过敏"),
        ("我對什麼過敏", "用户对花生过敏"),
    ],
)
async def test_a_question_finds_what_answers_it(
    memories: SqlMemories, ada: UserId, bo: UserId, question: str, answer: str
) -> None:
    await tell(
        memories, ada, "I'm Ada, I live in Rome, I like tea", "I'm allergic to peanuts", "I have two cats"
    )
    await tell(memories, bo, "我叫小明，住在北京，喜欢喝茶，对花生过敏", "我有一只猫")
    best = (await memories.search(question, user_id=ada if question.isascii() else bo, top_k=3))[0]
    assert best.text == answer
    assert best.score is not None
    assert 0 < best.score <= 1


@pytest.mark.parametrize(
    "query", ["what is the", "是什么的呢", "quantum physics", "今天天气怎么样", "?!", "\x00'\"\ud800"]
)
async def test_what_fits_nothing_finds_nothing(memories: SqlMemories, ada: UserId, query: str) -> None:
    await tell(memories, ada, "My name is What. I live in Rome", "我叫小明，住在北京")
    assert await found(memories, ada, query) == []


async def test_no_query_gives_the_newest(memories: SqlMemories, ada: UserId) -> None:
    await tell(memories, ada, "I like tea", "I like rain", "I like cats")
    items = await memories.search(" \n", user_id=ada, top_k=2)
    assert [item.text for item in items] == ["The user likes cats", "The user likes rain"]
    assert [item.score for item in items] == [None, None]


async def test_no_memories_are_given_for_a_count_below_one(memories: SqlMemories, ada: UserId) -> None:
    await tell(memories, ada, "I like tea", "I like green tea")
    for count in (0, -1):
        for query in ("", "tea"):
            assert await found(memories, ada, query, count) == []


async def test_the_best_comes_first_and_the_newer_of_two_alike(memories: SqlMemories, ada: UserId) -> None:
    await tell(memories, ada, "I like green tea", "I like tea", "I like black tea", "I like rain")
    assert await found(memories, ada, "green tea") == [
        "The user likes green tea",
        "The user likes black tea",
        "The user likes tea",
    ]
    assert await found(memories, ada, "green tea", top_k=1) == ["The user likes green tea"]


async def test_a_very_long_query_is_answered(memories: SqlMemories, ada: UserId) -> None:
    await tell(memories, ada, "我喜欢喝茶")
    assert await found(memories, ada, "什么 " * 300_000 + "喝茶") == ["用户喜欢喝茶"]


async def test_what_is_said_again_is_kept_once(
    memories: SqlMemories, database: Database, ada: UserId
) -> None:
    assert await memories.learn(exchange(ada, "I live in Rome")) == 1
    assert await memories.learn(exchange(ada, "i live in  ROME!")) == 0
    assert await memories.learn(exchange(ada, "Ｉ ｌｉｖｅ ｉｎ Ｒｏｍｅ")) == 0
    assert await kept(memories, ada) == ["The user lives in Rome"]
    (row,) = await database.read(lambda c: c.execute(select(table)).all())
    assert row.seen == 3
    assert row.seen_at > row.created_at


async def test_two_users_may_say_the_same(memories: SqlMemories, ada: UserId, bo: UserId) -> None:
    assert await memories.learn(exchange(ada, "I live in Rome")) == 1
    assert await memories.learn(exchange(bo, "I live in Rome")) == 1


@pytest.mark.parametrize(
    ("said", "left"),
    [
        (["My name is Ada", "no, my name is Bob"], ["The user's name is Bob"]),
        (["I live in Rome", "I like tea", "我搬到北京了"], ["用户住在北京", "The user likes tea"]),
        (["I like oolong tea", "I don't like oolong tea any more"], ["The user dislikes oolong tea"]),
        (["我喜歡喝烏龍茶", "我不喜歡烏龍茶了"], ["用户不喜欢烏龍茶"]),
        (["我叫小明", "我改名叫小红了", "我叫小红"], ["用户的名字是小红"]),
        (["I like tea and rain. No, I hate tea."], ["The user dislikes tea", "The user likes rain"]),
        (
            ["Remember that tea is at five", "I hate tea"],
            [
                "The user dislikes tea",
                "The user asked to remember: tea is at five",
            ],
        ),
    ],
)
async def test_what_changed_takes_the_place_of_what_was(
    memories: SqlMemories, ada: UserId, bo: UserId, said: list[str], left: list[str]
) -> None:
    await tell(memories, bo, *said[:1])
    others = await kept(memories, bo)
    await tell(memories, ada, *said)
    assert await kept(memories, ada) == left
    assert await kept(memories, bo) == others


async def test_what_a_model_notes_leaves_what_it_noted_before(database: Database, ada: UserId) -> None:
    notes = ['["The user lives in Rome"]', '["The user lives in Oslo"]']
    memories = SqlMemories(database, Extractor(AnsweringLLM(*notes)))
    for _ in notes:
        await memories.learn(exchange(ada, "hello", model=REAL))
    assert await kept(memories, ada) == ["The user lives in Oslo", "The user lives in Rome"]


async def test_a_turn_teaches_once(memories: SqlMemories, ada: UserId) -> None:
    turn = exchange(ada, "I live in Rome")
    assert await memories.learn(turn) == 1
    assert await memories.learn(turn) == 0
    await memories.forget(ada)
    assert await memories.learn(turn) == 0
    assert await kept(memories, ada) == []
    assert await memories.learn(exchange(ada, "I live in Rome")) == 1


async def test_a_turn_delivered_twice_at_once_teaches_once(
    memories: SqlMemories, database: Database, ada: UserId
) -> None:
    turn, learned = exchange(ada, "I live in Rome, I like tea"), list[int]()

    async def learn() -> None:
        learned.append(await memories.learn(turn))

    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(learn)
    assert sorted(learned) == [0, 0, 0, 0, 0, 2]
    assert await database.read(lambda c: c.scalars(select(table.c.seen)).all()) == [1, 1]


async def test_a_turn_that_told_nothing_is_not_asked_about_again(database: Database, ada: UserId) -> None:
    llm = AnsweringLLM("[]")
    memories = SqlMemories(database, Extractor(llm))
    turn = exchange(ada, "What a day", model=REAL)
    assert [await memories.learn(turn), await memories.learn(turn)] == [0, 0]
    assert len(llm.requests) == 1


async def test_a_turn_whose_model_failed_can_be_learned_later(database: Database, ada: UserId) -> None:
    llm = AnsweringLLM(EngineRateLimited("openai", "slow down"), '["用户喜欢茶", "…", "用户喜欢\\u0000茶！"]')
    memories = SqlMemories(database, Extractor(llm))
    turn = exchange(ada, "我喜欢茶", model=REAL)
    with pytest.raises(EngineRateLimited):
        await memories.learn(turn)
    assert await memories.learn(turn) == 1
    assert await kept(memories, ada) == ["用户喜欢茶"]


async def test_an_item_is_edited(memories: SqlMemories, ada: UserId) -> None:
    await tell(memories, ada, "I live in Rome", "I like tea")
    _, rome = await memories.items(ada)
    await memories.edit(ada, rome.id, " 用户住在北京 ")
    assert await kept(memories, ada) == ["The user likes tea", "用户住在北京"]
    assert await found(memories, ada, "我住在哪里") == ["用户住在北京"]
    assert await memories.learn(exchange(ada, "我住在北京")) == 0


async def test_an_item_edited_into_another_takes_its_place(memories: SqlMemories, ada: UserId) -> None:
    await tell(memories, ada, "I like tea", "I like rain")
    rain, _ = await memories.items(ada)
    await memories.edit(ada, rain.id, "the user likes TEA")
    assert [(item.id, item.text) for item in await memories.items(ada)] == [(rain.id, "the user likes TEA")]
    await memories.edit(ada, rain.id, "The user likes tea.")
    assert await kept(memories, ada) == ["The user likes tea."]


@pytest.mark.parametrize("text", ["", " \n", "x" * 501])
async def test_a_memory_of_nothing_or_of_everything_is_refused(
    memories: SqlMemories, ada: UserId, text: str
) -> None:
    await tell(memories, ada, "I like tea")
    (item,) = await memories.items(ada)
    with pytest.raises(EngineInvalidRequest):
        await memories.edit(ada, item.id, text)
    assert await kept(memories, ada) == ["The user likes tea"]


async def test_a_memory_is_added_as_it_is_said(memories: SqlMemories, ada: UserId, bo: UserId) -> None:
    item = await memories.add(ada, " 她喜欢绿茶 ")
    assert item.text == "她喜欢绿茶"
    assert await memories.items(ada) == [item]
    assert await found(memories, ada, "绿茶") == ["她喜欢绿茶"]
    assert await kept(memories, bo) == []


async def test_a_memory_that_is_known_is_added_once(memories: SqlMemories, ada: UserId, bo: UserId) -> None:
    first = await memories.add(ada, "She likes tea")
    assert await memories.add(ada, "she likes tea!") == first
    assert (await memories.add(bo, "She likes tea")).id != first.id
    assert await kept(memories, ada) == ["She likes tea"]


@pytest.mark.parametrize("text", ["", " \n", "?!", "x" * 501])
async def test_a_memory_without_a_word_or_with_too_many_is_not_added(
    memories: SqlMemories, ada: UserId, text: str
) -> None:
    with pytest.raises(EngineInvalidRequest):
        await memories.add(ada, text)
    assert await kept(memories, ada) == []


async def test_one_item_or_all_are_forgotten(memories: SqlMemories, ada: UserId) -> None:
    await tell(memories, ada, "I like tea", "I like rain", "I like cats")
    cats, *_ = await memories.items(ada)
    assert await memories.forget(ada, cats.id) == 1
    assert await kept(memories, ada) == ["The user likes rain", "The user likes tea"]
    assert await memories.forget(ada) == 2
    assert await memories.forget(ada) == 0


async def test_another_user_s_items_are_not_there(memories: SqlMemories, ada: UserId, bo: UserId) -> None:
    await tell(memories, ada, "I live in Rome")
    await tell(memories, bo, "I like tea")
    (rome,) = await memories.items(ada)
    for item_id in (rome.id, str(uuid4()), "no id", ""):
        with pytest.raises(NotFound):
            await memories.edit(bo, item_id, "The user likes tea")
        with pytest.raises(NotFound):
            await memories.forget(bo, item_id)
    assert await memories.forget(bo) == 1
    assert await found(memories, bo, "rome") == []
    assert await found(memories, bo, "") == []
    assert await kept(memories, ada) == ["The user lives in Rome"]


async def test_a_search_reads_the_rows_of_one_user_by_an_index(database: Database, ada: UserId) -> None:
    values = {"user_id": ada, "count": 5}
    plan = await database.read(lambda c: plan_of(c, module._NEWEST_FEW, values))
    assert "ix_memories_newest" in plan


async def test_a_user_who_goes_takes_the_memories_along(
    memories: SqlMemories, database: Database, ada: UserId
) -> None:
    await tell(memories, ada, "I like tea")
    await database.write(lambda c: c.execute(delete(users).where(users.c.id == ada)))
    for left in (table, learned_turns):
        assert await database.read(lambda c, t=left: c.scalar(select(func.count()).select_from(t))) == 0


async def test_nobody_can_be_taught_for_who_is_not_there(memories: SqlMemories) -> None:
    with pytest.raises(EngineUnavailable):
        await memories.learn(exchange(UserId(uuid4()), "I like tea", turn_id=TurnId(uuid4())))


async def test_a_database_that_fails_is_an_engine_that_fails(
    memories: SqlMemories, database: Database, ada: UserId
) -> None:
    await database.write(lambda c: c.execute(text("ALTER TABLE memories RENAME TO gone")))
    failing: Sequence[object] = (
        lambda: memories.search("tea", user_id=ada, top_k=1),
        lambda: memories.items(ada),
        lambda: memories.learn(exchange(ada, "I like tea")),
        lambda: memories.add(ada, "tea"),
        lambda: memories.forget(ada),
    )
    for call in failing:
        with pytest.raises(EngineUnavailable, match=r"^memory: the database lacks a table"):
            await call()
