"""What is Cognee's own: distances, datasets by name and id, answers that have to say where they are from."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from uuid import uuid4

import pytest

from cozy.adapters.cognee_knowledge import CogneeKnowledge
from cozy.errors import EngineAuthError, EngineInvalidRequest, EngineUnavailable
from cozy.storage.database import Database, open_database
from cozy.turn import UserId
from tests.engines import opened
from tests.engines.fake_cognee import STRANGERS_SECRET, FakeCognee, fake_cognee
from tests.engines.fake_cognee import body as fake_body
from tests.engines.server import Reply

ADA = UserId(uuid4())
SEARCH = "POST /api/v1/search"


@pytest.fixture
async def database(sqlite_url: str) -> AsyncIterator[Database]:
    async with open_database(sqlite_url) as database:
        yield database


@pytest.fixture
async def cognee() -> AsyncIterator[FakeCognee]:
    async with fake_cognee() as fake:
        fake.put("plants", "ferns", "Ferns want water\n\nFerns want shade")
        fake.put("health", "花生", "花生过敏")
        yield fake


@pytest.fixture
async def knowledge(cognee: FakeCognee, database: Database) -> AsyncIterator[CogneeKnowledge]:
    async with opened.cognee(cognee, database) as knowledge:
        yield knowledge


def hits(*found: dict[str, object]) -> Reply:
    """An answer of `plants`."""
    return Reply(json.dumps([{"dataset_name": "plants", "search_result": found}]).encode())


def reading(
    cognee: FakeCognee, database: Database, *datasets: str
) -> AbstractAsyncContextManager[CogneeKnowledge]:
    return opened.cognee(cognee, database, datasets=datasets)


async def test_a_distance_becomes_a_relevance(knowledge: CogneeKnowledge) -> None:
    found = await knowledge.search("ferns water", user_id=ADA, datasets=["plants"], top_k=2)
    assert [(passage.text, passage.score) for passage in found] == [
        ("Ferns want water", 1.0),
        ("Ferns want shade", 0.5),
    ]
    assert found[0].source == "ferns"


@pytest.mark.parametrize(
    ("distance", "score"),
    [(0, 1.0), (1, 0.0), (0.25, 0.75), (-3, 1.0), (-0.5, 1.0), (2, 0.0), (7.5, 0.0), (10**400, 0.0)],
    ids=["none", "whole", "near", "below", "a little below", "opposite", "beyond", "no float"],
)
async def test_whatever_distance_is_told_a_score_is_from_0_to_1(
    cognee: FakeCognee, knowledge: CogneeKnowledge, distance: float, score: float
) -> None:
    cognee.says["/search"] = hits({"id": "1", "text": "Ferns", "score": distance})
    (found,) = await knowledge.search("ferns", user_id=ADA, datasets=["plants"], top_k=2)
    assert (found.score, found.source) == (score, "")


@pytest.mark.parametrize("score", ["null", '"near"', "true", "NaN", "{}"])
async def test_a_hit_without_a_distance_is_none(
    cognee: FakeCognee, knowledge: CogneeKnowledge, score: str
) -> None:
    cognee.says["/search"] = Reply(
        hits({"id": "1", "text": "Ferns", "score": 5}).body.replace(b"5", score.encode())
    )
    with pytest.raises(EngineUnavailable):
        await knowledge.search("ferns", user_id=ADA, datasets=["plants"], top_k=2)


async def test_of_a_passage_that_comes_twice_the_nearer_one_is_taken(
    cognee: FakeCognee, knowledge: CogneeKnowledge
) -> None:
    near, far = ({"id": "1", "text": "Ferns", "score": distance} for distance in (0.2, 0.6))
    for order in ((near, far), (far, near)):
        cognee.says["/search"] = hits(*order)
        (found,) = await knowledge.search("ferns", user_id=ADA, datasets=["plants"], top_k=2)
        assert found.score == 0.8


async def test_the_server_is_up(cognee: FakeCognee, knowledge: CogneeKnowledge) -> None:
    await knowledge.check()
    assert "x-api-key" not in cognee.requests[-1].headers
    await cognee.be("500")
    with pytest.raises(EngineUnavailable):
        await knowledge.check()


async def test_all_that_is_configured_is_searched_where_nothing_is_named(
    cognee: FakeCognee, knowledge: CogneeKnowledge
) -> None:
    found = await knowledge.search("water 花生", user_id=ADA, datasets=[], top_k=9)
    assert {passage.dataset for passage in found} == {"plants", "health"}
    first = next(request for request in cognee.requests if request.path.endswith("/search"))
    assert first.json["datasets"] == list(opened.DATASETS)
    assert first.json["searchType"] == "CHUNKS"


async def test_a_dataset_that_is_not_configured_is_not_asked(
    cognee: FakeCognee, knowledge: CogneeKnowledge
) -> None:
    cognee.put("secret", "map", "gold")
    with pytest.raises(EngineInvalidRequest, match="did you mean `plants`"):
        await knowledge.search("gold", user_id=ADA, datasets=["plans"], top_k=3)
    for call in (
        knowledge.add(dataset="secret", name="a", text="b"),
        knowledge.documents("secret"),
        knowledge.remove(dataset="secret"),
    ):
        with pytest.raises(EngineInvalidRequest, match=r"none of `engines\.house\.datasets`"):
            await call
    assert {document.dataset for document in await knowledge.documents()} == {"plants", "health"}
    assert not any(b"gold" in request.body for request in cognee.requests)


async def test_ids_and_names_together_are_sent_as_ids(cognee: FakeCognee, database: Database) -> None:
    health = cognee.dataset("health").id
    async with reading(cognee, database, "plants", health.upper(), "nowhere") as knowledge:
        found = await knowledge.search("water 花生", user_id=ADA, datasets=[], top_k=9)
        assert {passage.dataset for passage in found} == {"plants", health.upper()}
        asked = cognee.requests[-1].json
        assert asked["datasetIds"] == [cognee.dataset("plants").id, health]
        assert "datasets" not in asked
        alone = await knowledge.search("花生", user_id=ADA, datasets=[health.upper()], top_k=1)
        assert alone[0].text == "花生过敏"


async def test_an_id_that_is_not_there_is_refused_and_a_name_is_empty(
    cognee: FakeCognee, database: Database
) -> None:
    async with reading(cognee, database, str(uuid4())) as knowledge:
        with pytest.raises(EngineAuthError, match="necessary permission"):
            await knowledge.search("water", user_id=ADA, datasets=[], top_k=3)
    async with reading(cognee, database, "nowhere") as knowledge:
        assert await knowledge.search("water", user_id=ADA, datasets=[], top_k=3) == []


async def test_an_empty_query_is_not_asked(cognee: FakeCognee, knowledge: CogneeKnowledge) -> None:
    for query, top_k in (("", 3), (" \n", 3), ("water", 0)):
        assert await knowledge.search(query, user_id=ADA, datasets=[], top_k=top_k) == []
    assert cognee.asked[SEARCH] == 0


async def test_passages_of_a_dataset_that_was_not_asked_are_not_used(
    cognee: FakeCognee, knowledge: CogneeKnowledge
) -> None:
    await cognee.be("another_user")
    with pytest.raises(EngineUnavailable, match="a dataset that was not asked") as caught:
        await knowledge.search("gold", user_id=ADA, datasets=[], top_k=3)
    assert STRANGERS_SECRET not in str(caught.value)


async def test_passages_of_no_dataset_are_not_used(cognee: FakeCognee, knowledge: CogneeKnowledge) -> None:
    cognee.access_control = False
    with pytest.raises(EngineUnavailable, match="ENABLE_BACKEND_ACCESS_CONTROL"):
        await knowledge.search("water", user_id=ADA, datasets=["plants"], top_k=3)


@pytest.mark.parametrize("said", [b"null", b"3", b'"x"', b"{}", b'{"results": []}'])
async def test_a_list_that_is_none_is_told_as_that(
    cognee: FakeCognee, knowledge: CogneeKnowledge, said: bytes
) -> None:
    cognee.says["/search"] = Reply(said)
    with pytest.raises(EngineUnavailable, match="answered with no list"):
        await knowledge.search("water", user_id=ADA, datasets=["plants"], top_k=3)


async def test_a_document_that_is_not_taken_in_is_told(
    cognee: FakeCognee, knowledge: CogneeKnowledge
) -> None:
    cognee.pipelines_fail = True
    with pytest.raises(EngineUnavailable, match="PipelineRunErrored"):
        await knowledge.add(dataset="plants", name="ferns", text="Ferns want sun")
    (found,) = await knowledge.search("ferns sun", user_id=ADA, datasets=["plants"], top_k=1)
    assert found.text == "Ferns want water"
    cognee.pipelines_fail = False
    await knowledge.add(dataset="plants", name="ferns", text="Ferns want sun")
    assert [d.name for d in await knowledge.documents("plants")] == ["ferns"]


@pytest.mark.parametrize("said", [b"null", b"[]", b"{}", b'{"x": []}', b'{"x": {"status": "Errored"}}'])
async def test_a_server_that_does_not_say_that_it_took_a_document_in_has_not(
    cognee: FakeCognee, knowledge: CogneeKnowledge, said: bytes
) -> None:
    cognee.says["/cognify"] = Reply(said)
    with pytest.raises(EngineUnavailable):
        await knowledge.add(dataset="plants", name="cacti", text="Cacti want sun")


@pytest.mark.parametrize("infos", ["null", "[]", "[null]", '[{"data_id": ""}]'])
async def test_a_document_stays_where_the_server_does_not_say_which_one_it_took(
    cognee: FakeCognee, knowledge: CogneeKnowledge, infos: str
) -> None:
    plants = cognee.dataset("plants").id
    told = f'{{"status": "PipelineRunCompleted", "dataset_id": "{plants}", "data_ingestion_info": {infos}}}'
    cognee.says["/add"] = Reply(told.encode())
    with pytest.raises(EngineUnavailable):
        await knowledge.add(dataset="plants", name="ferns", text="Ferns want water")
    assert [d.name for d in await knowledge.documents("plants")] == ["ferns"]


async def test_a_document_is_known_again_however_its_id_is_written(
    cognee: FakeCognee, knowledge: CogneeKnowledge
) -> None:
    plants = cognee.dataset("plants")
    (ferns,) = plants.documents
    cognee.says["/add"] = Reply(
        fake_body(
            "added",
            dataset_id=plants.id.upper(),
            dataset_name="plants",
            status="PipelineRunAlreadyCompleted",
            data_id=ferns.upper(),
        )
    )
    added = await knowledge.add(dataset="plants", name="ferns", text="Ferns want water")
    assert (added.id, list(plants.documents)) == (ferns, [ferns])


@pytest.mark.parametrize(("name", "text"), [("x" * 250, "a"), ("蕨" * 100, "a"), ("a", " \n")])
async def test_what_cannot_be_a_document_is_refused(
    cognee: FakeCognee, knowledge: CogneeKnowledge, name: str, text: str
) -> None:
    with pytest.raises(EngineInvalidRequest):
        await knowledge.add(dataset="plants", name=name, text=text)
    assert not cognee.requests


async def test_a_dataset_of_an_id_takes_documents(cognee: FakeCognee, database: Database) -> None:
    plants = cognee.dataset("plants").id
    async with reading(cognee, database, plants) as knowledge:
        await knowledge.add(dataset=plants, name="cacti", text="Cacti want sun")
        assert [d.name for d in await knowledge.documents(plants)] == ["cacti", "ferns"]
        assert await knowledge.datasets() == [plants]
        assert await knowledge.remove(dataset=plants) == 2
        assert await knowledge.remove(dataset=plants) == 0
    assert list(cognee.data) == ["health"]
