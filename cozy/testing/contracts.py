"""What every engine of the personal context holds to, as tests for those who write one.

Subclass the class of your port, give it your engine as a fixture of the port's name, and run pytest with
anyio's plugin (`anyio_mode = "auto"`):

    import pytest
    from cozy.testing.contracts import MemoriesContract

    class TestMyMemories(MemoriesContract):
        @pytest.fixture
        async def memories(self):
            async with open_my_memories() as engine:
                yield engine

The fixture gives an engine that knows nothing of the users that `new_user` makes. What it learns may be put
in its own words: the tests look for the words that matter. `ScriptedKnowledgeContract` and its sisters are
the part that holds for stand-ins too, which know no more than they were made with.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import uuid4

import anyio

from cozy.errors import EngineInvalidRequest, NotFound
from cozy.ports.knowledge import Knowledge, KnowledgeBase, Passage
from cozy.ports.memory import Exchange, Memories, MemoryItem
from cozy.ports.profile import ProfileFact, Profiles
from cozy.turn import Message, TurnId, UserId

AT_ONCE = 50
CHINESE = "用户对花生过敏，住在上海浦东，養了兩隻貓🌸"
DOCUMENTS = {
    ("plants", "ferns"): "Ferns stand in the shade and want water every day.",
    ("plants", "cacti"): "Cacti stand in the sun and want water once a month.",
    ("health", "花生"): "对花生过敏的人不能吃花生酱，也不能喝花生奶。",
}
"""Dataset and name → text: what a `knowledge` engine has to hold before the tests begin."""


async def at_once(count: int, call: Callable[[int], Awaitable[Any]]) -> list[Any]:
    """What so many calls side by side give, in their order."""
    results: list[Any] = [None] * count

    async def one(place: int) -> None:
        results[place] = await call(place)

    async with anyio.create_task_group() as tasks:
        for place in range(count):
            tasks.start_soon(one, place)
    return results


async def raises(kind: type[Exception], call: Awaitable[Any]) -> None:
    """That the call ends in an error of this kind."""
    try:
        result = await call
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was expected, and {result!r} came")


def is_ranked(items: Sequence[Passage | MemoryItem], top_k: int) -> bool:
    """At most so many, best first, each score from 0 to 1, each thing once."""
    scores = [item.score for item in items]
    known = [score for score in scores if score is not None]
    return (
        len(items) <= top_k
        and known == scores == sorted(known, reverse=True)
        and all(0 <= score <= 1 for score in known)
        and len({item.id for item in items}) == len(items)
    )


class _Contract:
    model = "demo/demo"
    """`provider/name` of the model that extraction may use."""

    async def new_user(self) -> UserId:
        """A user whom nobody has seen before; override it where one has to be known somewhere first."""
        return UserId(uuid4())

    def exchange(self, user_id: UserId, *said: str) -> Exchange:
        """A finished turn: the user's words first, then in turns."""
        messages = tuple(Message("assistant" if n % 2 else "user", text) for n, text in enumerate(said))
        return Exchange(TurnId(uuid4()), user_id, None, "default", self.model, messages)


class ScriptedKnowledgeContract(_Contract):
    """`Knowledge` that holds `DOCUMENTS`, whatever is asked."""

    async def test_a_search_gives_the_best_first_and_no_more_than_asked(self, knowledge: Knowledge) -> None:
        user_id = await self.new_user()
        for top_k in (1, 2, 10):
            found = await knowledge.search("water", user_id=user_id, datasets=[], top_k=top_k)
            assert found
            assert is_ranked(found, top_k)

    async def test_a_search_keeps_to_the_datasets_that_are_asked(self, knowledge: Knowledge) -> None:
        user_id = await self.new_user()
        found = await knowledge.search("water 花生", user_id=user_id, datasets=["plants"], top_k=10)
        assert {passage.dataset for passage in found} == {"plants"}

    async def test_nothing_is_given_where_nothing_is_wanted(self, knowledge: Knowledge) -> None:
        assert not await knowledge.search("water", user_id=await self.new_user(), datasets=[], top_k=0)

    async def test_an_empty_query_is_answered(self, knowledge: Knowledge) -> None:
        found = await knowledge.search(" \n", user_id=await self.new_user(), datasets=[], top_k=2)
        assert len(found) <= 2

    async def test_many_search_at_once(self, knowledge: Knowledge) -> None:
        user_id = await self.new_user()

        async def search(_: int) -> Sequence[Passage]:
            return await knowledge.search("water", user_id=user_id, datasets=[], top_k=3)

        first, *others = await at_once(AT_ONCE, search)
        assert first
        assert all(other == first for other in others)


class KnowledgeContract(ScriptedKnowledgeContract):
    """`KnowledgeBase`: the fixture `knowledge` gives one into which `DOCUMENTS` have been put with `add`. Its
    datasets are `plants`, `health` and, still empty, `spare`."""

    async def test_what_fits_comes_first(self, knowledge: KnowledgeBase) -> None:
        user_id = await self.new_user()
        for query, name in (("who wants shade?", "ferns"), ("对花生过敏", "花生")):
            found = await knowledge.search(query, user_id=user_id, datasets=[], top_k=3)
            assert name in found[0].source

    async def test_chinese_text_comes_back_whole(self, knowledge: KnowledgeBase) -> None:
        found = await knowledge.search("花生", user_id=await self.new_user(), datasets=["health"], top_k=1)
        assert [passage.text for passage in found] == [DOCUMENTS["health", "花生"]]

    async def test_a_dataset_without_documents_brings_nothing(self, knowledge: KnowledgeBase) -> None:
        user_id = await self.new_user()
        assert not await knowledge.search("water", user_id=user_id, datasets=["spare"], top_k=3)
        assert await knowledge.search("water", user_id=user_id, datasets=["spare", "plants"], top_k=3)

    async def test_what_was_added_is_listed(self, knowledge: KnowledgeBase) -> None:
        assert {(d.dataset, d.name) for d in await knowledge.documents()} == set(DOCUMENTS)
        assert [d.name for d in await knowledge.documents("health")] == ["花生"]
        assert set(await knowledge.datasets()) >= {"plants", "health"}

    async def test_a_document_of_the_same_name_takes_the_place_of_the_old(
        self, knowledge: KnowledgeBase
    ) -> None:
        user_id = await self.new_user()
        await knowledge.add(dataset="plants", name="ferns", text="Ferns were sold, the zinnias have come.")
        assert sorted(d.name for d in await knowledge.documents("plants")) == ["cacti", "ferns"]
        found = await knowledge.search("zinnias", user_id=user_id, datasets=["plants"], top_k=1)
        assert "zinnias" in found[0].text
        assert not any(
            "shade" in passage.text
            for passage in await knowledge.search("shade", user_id=user_id, datasets=["plants"], top_k=9)
        )

    async def test_the_same_document_again_is_there_once(self, knowledge: KnowledgeBase) -> None:
        await knowledge.add(dataset="plants", name="ferns", text=DOCUMENTS["plants", "ferns"])
        assert len(await knowledge.documents("plants")) == 2

    async def test_a_name_may_hold_anything(self, knowledge: KnowledgeBase) -> None:
        name = '笔记/2026: "50%".md'
        document = await knowledge.add(dataset="spare", name=name, text="Dahlias")
        assert document.name == name
        assert [d.name for d in await knowledge.documents("spare")] == [name]
        assert await knowledge.remove(dataset="spare", name=name) == 1

    async def test_what_was_removed_is_gone(self, knowledge: KnowledgeBase) -> None:
        user_id = await self.new_user()
        assert await knowledge.remove(dataset="plants", name="nothing of the kind") == 0
        assert await knowledge.remove(dataset="plants", name="ferns") == 1
        found = await knowledge.search("shade water", user_id=user_id, datasets=["plants"], top_k=9)
        assert all("shade" not in passage.text for passage in found)
        assert await knowledge.remove(dataset="plants") == 1
        assert not await knowledge.documents("plants")
        assert await knowledge.remove(dataset="plants") == 0

    async def test_a_document_has_a_name(self, knowledge: KnowledgeBase) -> None:
        await raises(EngineInvalidRequest, knowledge.add(dataset="plants", name=" ", text="Ferns"))


class ScriptedMemoriesContract(_Contract):
    """`Memories` in which something about water is remembered."""

    async def someone(self, memories: Memories) -> UserId:
        """A user of whom something about water is remembered."""
        return await self.new_user()

    async def test_a_search_gives_the_best_first_and_no_more_than_asked(self, memories: Memories) -> None:
        user_id = await self.someone(memories)
        for top_k in (1, 2, 10):
            found = await memories.search("water", user_id=user_id, top_k=top_k)
            assert found
            assert is_ranked(found, top_k)

    async def test_nothing_is_given_where_nothing_is_wanted(self, memories: Memories) -> None:
        user_id = await self.someone(memories)
        assert not await memories.search("water", user_id=user_id, top_k=0)
        assert not await memories.search("", user_id=user_id, top_k=0)

    async def test_many_search_at_once(self, memories: Memories) -> None:
        user_id = await self.someone(memories)

        async def search(_: int) -> Sequence[MemoryItem]:
            return await memories.search("water", user_id=user_id, top_k=3)

        first, *others = await at_once(AT_ONCE, search)
        assert first
        assert all(other == first for other in others)

    async def test_what_was_added_comes_back_whole_and_can_be_changed_and_forgotten(
        self, memories: Memories
    ) -> None:
        user_id = await self.new_user()
        item = await memories.add(user_id, CHINESE)
        assert item.text == CHINESE
        assert CHINESE in [known.text for known in await memories.items(user_id)]
        await memories.edit(user_id, item.id, "用户住在杭州")
        assert "用户住在杭州" in [known.text for known in await memories.items(user_id)]
        assert await memories.forget(user_id, item.id) == 1
        assert item.id not in [known.id for known in await memories.items(user_id)]
        await raises(NotFound, memories.forget(user_id, item.id))
        await raises(NotFound, memories.edit(user_id, item.id, "tea"))

    async def test_everything_is_forgotten_at_once(self, memories: Memories) -> None:
        user_id = await self.someone(memories)
        known = len(await memories.items(user_id))
        assert await memories.forget(user_id) == known > 0
        assert not await memories.items(user_id)
        assert not await memories.search("water", user_id=user_id, top_k=5)
        assert await memories.forget(user_id) == 0


class MemoriesContract(ScriptedMemoriesContract):
    """`Memories` that learn, and keep users apart."""

    async def someone(self, memories: Memories) -> UserId:
        user_id = await self.new_user()
        await memories.add(user_id, "The user drinks water")
        await memories.add(user_id, "The user swims in cold water every day")
        return user_id

    async def test_what_was_told_is_found(self, memories: Memories) -> None:
        user_id = await self.new_user()
        assert await memories.learn(self.exchange(user_id, "I like green tea", "Good for you!")) >= 1
        assert await memories.learn(self.exchange(user_id, "我喜欢喝咖啡", "好的")) >= 1
        (first, *_) = await memories.search("which tea do I like?", user_id=user_id, top_k=5)
        assert "tea" in first.text
        (first, *_) = await memories.search("咖啡", user_id=user_id, top_k=5)
        assert "咖啡" in first.text

    async def test_the_same_exchange_twice_is_once(self, memories: Memories) -> None:
        user_id = await self.new_user()
        told = self.exchange(user_id, "I like green tea", "Good!")
        await memories.learn(told)
        known = await memories.items(user_id)
        assert await memories.learn(told) == 0
        assert await memories.items(user_id) == known

    async def test_the_same_exchange_does_not_bring_back_what_was_forgotten(self, memories: Memories) -> None:
        user_id = await self.new_user()
        told = self.exchange(user_id, "I like green tea", "Good!")
        await memories.learn(told)
        await memories.forget(user_id)
        assert await memories.learn(told) == 0
        assert not await memories.items(user_id)

    async def test_nobody_sees_or_touches_what_another_has_told(self, memories: Memories) -> None:
        ada, bo = await self.new_user(), await self.new_user()
        await memories.learn(self.exchange(ada, "I like green tea", "Good!"))
        await memories.learn(self.exchange(bo, "I like black tea", "Good!"))
        for query in ("tea", "what do I like?", ""):
            found = await memories.search(query, user_id=bo, top_k=20)
            assert all("green" not in item.text for item in found)
        (hers,) = await memories.items(ada)
        await raises(NotFound, memories.edit(bo, hers.id, "mine"))
        await raises(NotFound, memories.forget(bo, hers.id))
        await memories.forget(bo)
        assert [item.id for item in await memories.items(ada)] == [hers.id]

    async def test_an_empty_query_gives_the_newest(self, memories: Memories) -> None:
        user_id = await self.new_user()
        for text in ("The user likes tea", "The user likes rain", "The user likes cats"):
            await memories.add(user_id, text)
        found = await memories.search(" \n", user_id=user_id, top_k=2)
        assert [item.text for item in found] == ["The user likes cats", "The user likes rain"]

    async def test_what_is_known_stays_the_item_that_it_is(self, memories: Memories) -> None:
        user_id = await self.new_user()
        first = await memories.add(user_id, "The user likes tea")
        again = await memories.add(user_id, " the user likes TEA! ")
        assert again.id == first.id
        assert len(await memories.items(user_id)) == 1

    async def test_what_says_nothing_is_refused(self, memories: Memories) -> None:
        user_id = await self.new_user()
        for text in ("", " \n", "?!", "x" * 100_000):
            await raises(EngineInvalidRequest, memories.add(user_id, text))

    async def test_an_id_that_is_none_is_not_found(self, memories: Memories) -> None:
        user_id = await self.new_user()
        for item_id in ("", "1", "../users", str(uuid4()), "\x00\ud800"):
            await raises(NotFound, memories.forget(user_id, item_id))
            await raises(NotFound, memories.edit(user_id, item_id, "tea"))

    async def test_an_exchange_without_words_teaches_nothing(self, memories: Memories) -> None:
        user_id = await self.new_user()
        assert await memories.learn(self.exchange(user_id)) == 0
        assert await memories.learn(self.exchange(user_id, " ", " ")) == 0
        assert not await memories.items(user_id)

    async def test_many_tell_at_once_and_each_finds_their_own(self, memories: Memories) -> None:
        users = [await self.new_user() for _ in range(8)]

        async def tell(place: int) -> Sequence[MemoryItem]:
            await memories.learn(self.exchange(users[place], f"I like tea number {place}", "Good!"))
            return await memories.search("tea", user_id=users[place], top_k=5)

        for place, found in enumerate(await at_once(len(users), tell)):
            assert [item.text.rstrip(".")[-1] for item in found] == [str(place)]


class ScriptedProfilesContract(_Contract):
    """`Profiles` in which something is known."""

    async def someone(self, profiles: Profiles) -> UserId:
        """A user of whom something is known."""
        return await self.new_user()

    async def test_facts_have_what_a_prompt_needs(self, profiles: Profiles) -> None:
        facts = await profiles.facts(await self.someone(profiles))
        assert facts
        assert all(fact.id and fact.topic and fact.sub_topic and fact.content for fact in facts)
        assert all(fact.updated_at.tzinfo for fact in facts)

    async def test_many_read_at_once(self, profiles: Profiles) -> None:
        user_id = await self.someone(profiles)

        async def read(_: int) -> Sequence[ProfileFact]:
            return await profiles.facts(user_id)

        first, *others = await at_once(AT_ONCE, read)
        assert first
        assert all(other == first for other in others)

    async def test_a_fact_can_be_changed_and_forgotten(self, profiles: Profiles) -> None:
        user_id = await self.someone(profiles)
        fact, *others = await profiles.facts(user_id)
        await profiles.edit(user_id, fact.id, CHINESE)
        changed = {known.id: known.content for known in await profiles.facts(user_id)}
        assert changed == {fact.id: CHINESE, **{other.id: other.content for other in others}}
        assert await profiles.forget(user_id, fact.id) == 1
        assert [known.id for known in await profiles.facts(user_id)] == [other.id for other in others]
        await raises(NotFound, profiles.forget(user_id, fact.id))
        await raises(NotFound, profiles.edit(user_id, fact.id, "tea"))

    async def test_everything_is_forgotten_at_once(self, profiles: Profiles) -> None:
        user_id = await self.someone(profiles)
        known = len(await profiles.facts(user_id))
        assert await profiles.forget(user_id) == known > 0
        assert not await profiles.facts(user_id)
        assert await profiles.forget(user_id) == 0


class ProfilesContract(ScriptedProfilesContract):
    """`Profiles` that learn, and keep users apart."""

    async def someone(self, profiles: Profiles) -> UserId:
        user_id = await self.new_user()
        await profiles.learn(self.exchange(user_id, "My name is Ada", "Hi Ada!"))
        await profiles.learn(self.exchange(user_id, "I like green tea", "Good!"))
        return user_id

    async def test_what_was_told_is_known_when_learning_is_over(self, profiles: Profiles) -> None:
        user_id = await self.new_user()
        assert await profiles.learn(self.exchange(user_id, "My name is Ada", "Hi Ada!")) >= 1
        assert any("Ada" in fact.content for fact in await profiles.facts(user_id))

    async def test_chinese_is_known_as_it_was_told(self, profiles: Profiles) -> None:
        user_id = await self.new_user()
        assert await profiles.learn(self.exchange(user_id, "我叫小明", "你好，小明")) >= 1
        assert any("小明" in fact.content for fact in await profiles.facts(user_id))

    async def test_nothing_is_known_of_a_stranger(self, profiles: Profiles) -> None:
        assert not await profiles.facts(await self.new_user())

    async def test_the_same_exchange_twice_is_once(self, profiles: Profiles) -> None:
        user_id = await self.new_user()
        told = self.exchange(user_id, "My name is Ada", "Hi Ada!")
        await profiles.learn(told)
        known = await profiles.facts(user_id)
        assert await profiles.learn(told) == 0
        assert await profiles.facts(user_id) == known

    async def test_the_same_exchange_does_not_bring_back_what_was_forgotten(self, profiles: Profiles) -> None:
        user_id = await self.new_user()
        told = self.exchange(user_id, "My name is Ada", "Hi Ada!")
        await profiles.learn(told)
        await profiles.forget(user_id)
        assert await profiles.learn(told) == 0
        assert not await profiles.facts(user_id)
        await profiles.learn(self.exchange(user_id, "My name is Grace", "Hi Grace!"))
        assert any("Grace" in fact.content for fact in await profiles.facts(user_id))

    async def test_nobody_sees_or_touches_what_another_has_told(self, profiles: Profiles) -> None:
        ada, bo = await self.new_user(), await self.new_user()
        await profiles.learn(self.exchange(ada, "My name is Ada", "Hi Ada!"))
        await profiles.learn(self.exchange(bo, "My name is Bo", "Hi Bo!"))
        assert all("Ada" not in fact.content for fact in await profiles.facts(bo))
        (hers, *_) = await profiles.facts(ada)
        await raises(NotFound, profiles.edit(bo, hers.id, "mine"))
        await raises(NotFound, profiles.forget(bo, hers.id))
        await profiles.forget(bo)
        assert hers in await profiles.facts(ada)

    async def test_what_has_no_room_is_left_out(self, profiles: Profiles) -> None:
        user_id = await self.someone(profiles)
        assert not await profiles.facts(user_id, max_tokens=0)
        assert await profiles.facts(user_id, max_tokens=10_000) == await profiles.facts(user_id)

    async def test_a_fact_says_something(self, profiles: Profiles) -> None:
        user_id = await self.someone(profiles)
        fact, *_ = await profiles.facts(user_id)
        for content in ("", " \n", "x" * 100_000):
            await raises(EngineInvalidRequest, profiles.edit(user_id, fact.id, content))

    async def test_an_exchange_without_words_teaches_nothing(self, profiles: Profiles) -> None:
        user_id = await self.new_user()
        assert await profiles.learn(self.exchange(user_id)) == 0
        assert await profiles.learn(self.exchange(user_id, " ", " ")) == 0

    async def test_many_tell_at_once_and_each_is_known(self, profiles: Profiles) -> None:
        users = [await self.new_user() for _ in range(8)]
        names = ("Ada", "Bo", "Cy", "Dan", "Eve", "Fay", "Gus", "Hal")

        async def tell(place: int) -> Sequence[ProfileFact]:
            await profiles.learn(self.exchange(users[place], f"My name is {names[place]}", "Hi!"))
            return await profiles.facts(users[place])

        for place, facts in enumerate(await at_once(len(users), tell)):
            assert [name for name in names if any(name in fact.content for fact in facts)] == [names[place]]
