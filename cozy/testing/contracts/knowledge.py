"""What holds for knowledge."""

from __future__ import annotations

from collections.abc import Sequence

from cozy.errors import EngineInvalidRequest
from cozy.ports.knowledge import Knowledge, KnowledgeBase, Passage
from cozy.testing.contracts.base import AT_ONCE, Contract, at_once, is_ranked, raises

DOCUMENTS = {
    ("plants", "ferns"): "Ferns stand in the shade and want water every day.",
    ("plants", "cacti"): "Cacti stand in the sun and want water once a month.",
    ("health", "花生"): "对花生过敏的人不能吃花生酱，也不能喝花生奶。",
}
"""Dataset and name → text: what a `knowledge` engine has to hold before the tests begin."""


class ScriptedKnowledgeContract(Contract):
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
