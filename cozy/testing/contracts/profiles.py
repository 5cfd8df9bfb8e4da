"""What holds for profiles."""

from __future__ import annotations

from collections.abc import Sequence

from cozy.errors import EngineInvalidRequest, NotFound
from cozy.ports.profile import ProfileFact, Profiles
from cozy.testing.contracts.base import AT_ONCE, CHINESE, Contract, at_once, raises
from cozy.turn import UserId


class ScriptedProfilesContract(Contract):
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
