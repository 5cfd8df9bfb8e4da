"""What holds for memories."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

from cozy.errors import EngineInvalidRequest, NotFound
from cozy.ports.memory import Memories, MemoryItem
from cozy.testing.contracts.base import AT_ONCE, CHINESE, Contract, at_once, is_ranked, raises
from cozy.turn import UserId


class ScriptedMemoriesContract(Contract):
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
