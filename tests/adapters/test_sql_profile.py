from __future__ import annotations

import json
from uuid import uuid4

import anyio
import pytest
from sqlalchemy import delete, func, select, text

from cozy.adapters.extraction import Extractor
from cozy.adapters.sql_memory import SqlMemories
from cozy.adapters.sql_profile import SqlProfiles
from cozy.adapters.sql_store import SqlStore
from cozy.errors import EngineInvalidRequest, EngineRateLimited, EngineUnavailable, NotFound
from cozy.storage.context_tables import profile_facts
from cozy.storage.database import Database
from cozy.storage.tables import users
from cozy.turn import UserId
from tests.adapters.teaching import AnsweringLLM, exchange

REAL = "openai/gpt-4.1-mini"


@pytest.fixture
async def profiles(database: Database) -> SqlProfiles:
    return SqlProfiles(database, Extractor(AnsweringLLM()))


@pytest.fixture
async def ada(database: Database) -> UserId:
    return await SqlStore(database).user("ada")


@pytest.fixture
async def bo(database: Database) -> UserId:
    return await SqlStore(database).user("bo")


async def known(profiles: SqlProfiles, user_id: UserId, max_tokens: int | None = None) -> list[str]:
    facts = await profiles.facts(user_id, max_tokens=max_tokens)
    return [f"{fact.topic}/{fact.sub_topic}: {fact.content}" for fact in facts]


async def test_the_name_comes_first_then_who_they_are_then_the_newest(
    profiles: SqlProfiles, ada: UserId
) -> None:
    await profiles.learn(exchange(ada, "I like tea. I live in Rome."))
    await profiles.learn(exchange(ada, "My name is Ada, I'm a nurse, and I'm 36"))
    await profiles.learn(exchange(ada, "我喜欢爬山"))
    assert await known(profiles, ada) == [
        "basic_info/name: Ada",
        "basic_info/age: 36",
        "basic_info/city: Rome",
        "interest/爬山: 喜欢",
        "work/job: nurse",
        "interest/tea: likes it",
    ]


async def test_what_changed_takes_the_place_of_what_was(profiles: SqlProfiles, ada: UserId) -> None:
    assert await profiles.learn(exchange(ada, "我住在北京，喜欢喝茶，喜欢爬山")) == 3
    before = {fact.sub_topic: fact for fact in await profiles.facts(ada)}
    assert await profiles.learn(exchange(ada, "我搬到上海了，不喜欢爬山")) == 2
    after = {fact.sub_topic: fact for fact in await profiles.facts(ada)}
    assert {name: fact.content for name, fact in after.items()} == {
        "city": "上海",
        "茶": "喜欢喝",
        "爬山": "不喜欢",
    }
    assert after["city"].id == before["city"].id
    assert after["city"].updated_at > before["city"].updated_at
    assert after["茶"] == before["茶"]


async def test_things_that_somebody_has_many_of_stand_side_by_side(
    profiles: SqlProfiles, ada: UserId
) -> None:
    assert await profiles.learn(exchange(ada, "I like tea and rain. I'm allergic to nuts")) == 3
    assert await profiles.learn(exchange(ada, "I like cats. I am allergic to fish")) == 2
    assert len(await known(profiles, ada)) == 5


async def test_what_is_said_again_is_neither_new_nor_newer(profiles: SqlProfiles, ada: UserId) -> None:
    assert await profiles.learn(exchange(ada, "My name is Ada")) == 1
    before = await profiles.facts(ada)
    assert await profiles.learn(exchange(ada, "my name is ADA!")) == 0
    assert await profiles.facts(ada) == before


async def test_a_turn_teaches_once(profiles: SqlProfiles, ada: UserId) -> None:
    rome, oslo = exchange(ada, "I live in Rome"), exchange(ada, "I live in Oslo")
    assert [await profiles.learn(turn) for turn in (rome, oslo, rome)] == [1, 1, 0]
    assert await known(profiles, ada) == ["basic_info/city: Oslo"]
    await profiles.forget(ada)
    assert [await profiles.learn(turn) for turn in (rome, oslo)] == [0, 0]
    assert await known(profiles, ada) == []


async def test_a_turn_delivered_twice_at_once_teaches_once(profiles: SqlProfiles, ada: UserId) -> None:
    turn, learned = exchange(ada, "I live in Rome, I like tea"), list[int]()

    async def learn() -> None:
        learned.append(await profiles.learn(turn))

    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(learn)
    assert sorted(learned) == [0, 0, 0, 0, 0, 2]


async def test_one_turn_teaches_memory_and_profile_each(
    profiles: SqlProfiles, database: Database, ada: UserId
) -> None:
    turn = exchange(ada, "I live in Rome")
    memories = SqlMemories(database, Extractor(AnsweringLLM()))
    assert [await memories.learn(turn), await profiles.learn(turn)] == [1, 1]


async def test_a_model_s_facts_are_kept_under_plain_names(database: Database, ada: UserId) -> None:
    facts = [
        {"topic": "Basic Info", "sub_topic": "Name", "content": "小明\u0000"},
        {"topic": "interest", "sub_topic": "Green Tea", "content": "likes it"},
    ]
    llm = AnsweringLLM(EngineRateLimited("openai", "slow down"), json.dumps(facts))
    profiles = SqlProfiles(database, Extractor(llm))
    turn = exchange(ada, "hello", model=REAL)
    with pytest.raises(EngineRateLimited):
        await profiles.learn(turn)
    assert await profiles.learn(turn) == 2
    assert await known(profiles, ada) == ["basic_info/name: 小明", "interest/green tea: likes it"]


async def test_whole_facts_are_cut_from_the_end(profiles: SqlProfiles, ada: UserId) -> None:
    await profiles.learn(exchange(ada, "我叫小明，住在北京。我喜欢爬山和喝茶"))
    everything = await known(profiles, ada)
    assert await known(profiles, ada, 1000) == everything
    assert await known(profiles, ada, 0) == []
    cuts = [await known(profiles, ada, tokens) for tokens in range(5, 100)]
    assert all(cut == [fact for fact in everything if fact in cut] for cut in cuts)
    assert [len(cut) for cut in cuts] == sorted(len(cut) for cut in cuts)
    assert next(cut for cut in cuts if cut) == ["basic_info/name: 小明"]


async def test_what_is_too_long_gives_way_to_what_is_not(profiles: SqlProfiles, ada: UserId) -> None:
    await profiles.learn(exchange(ada, "I'm from Rome, and I'm 36"))
    age, rome = await profiles.facts(ada)
    await profiles.edit(ada, rome.id, "a village far away, " * 20)
    assert (await profiles.facts(ada))[0].sub_topic == "hometown"
    assert await known(profiles, ada, 30) == [f"basic_info/{age.sub_topic}: 36"]


async def test_a_fact_is_edited(profiles: SqlProfiles, ada: UserId) -> None:
    await profiles.learn(exchange(ada, "I live in Rome"))
    (fact,) = await profiles.facts(ada)
    await profiles.edit(ada, fact.id, " 北京 ")
    (edited,) = await profiles.facts(ada)
    assert (edited.id, edited.content) == (fact.id, "北京")
    assert edited.updated_at > fact.updated_at


@pytest.mark.parametrize("content", ["", " \n", "x" * 501])
async def test_a_fact_of_nothing_or_of_everything_is_refused(
    profiles: SqlProfiles, ada: UserId, content: str
) -> None:
    await profiles.learn(exchange(ada, "I live in Rome"))
    (fact,) = await profiles.facts(ada)
    with pytest.raises(EngineInvalidRequest):
        await profiles.edit(ada, fact.id, content)


async def test_one_fact_or_all_are_forgotten(profiles: SqlProfiles, ada: UserId) -> None:
    await profiles.learn(exchange(ada, "I'm Ada, I live in Rome, I like tea"))
    name, *_ = await profiles.facts(ada)
    assert await profiles.forget(ada, name.id) == 1
    assert await known(profiles, ada) == ["basic_info/city: Rome", "interest/tea: likes it"]
    assert await profiles.forget(ada) == 2
    assert await profiles.forget(ada) == 0


async def test_another_user_s_facts_are_not_there(profiles: SqlProfiles, ada: UserId, bo: UserId) -> None:
    await profiles.learn(exchange(ada, "I live in Rome"))
    await profiles.learn(exchange(bo, "I live in Oslo"))
    (rome,) = await profiles.facts(ada)
    for fact_id in (rome.id, str(uuid4()), "no id"):
        with pytest.raises(NotFound):
            await profiles.edit(bo, fact_id, "Oslo")
        with pytest.raises(NotFound):
            await profiles.forget(bo, fact_id)
    assert await profiles.forget(bo) == 1
    assert await profiles.facts(ada) == [rome]


async def test_a_user_who_goes_takes_the_profile_along(
    profiles: SqlProfiles, database: Database, ada: UserId
) -> None:
    await profiles.learn(exchange(ada, "I live in Rome"))
    await database.write(lambda c: c.execute(delete(users).where(users.c.id == ada)))
    assert await database.read(lambda c: c.scalar(select(func.count()).select_from(profile_facts))) == 0


async def test_a_database_that_fails_is_an_engine_that_fails(
    profiles: SqlProfiles, database: Database, ada: UserId
) -> None:
    await database.write(lambda c: c.execute(text("ALTER TABLE profile_facts RENAME TO gone")))
    for call in (
        lambda: profiles.facts(ada),
        lambda: profiles.learn(exchange(ada, "I live in Rome")),
        lambda: profiles.edit(ada, str(uuid4()), "Oslo"),
        lambda: profiles.forget(ada),
    ):
        with pytest.raises(EngineUnavailable, match=r"^profile: the database lacks a table"):
            await call()
