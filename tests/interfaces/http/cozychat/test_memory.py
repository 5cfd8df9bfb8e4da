"""What Cozy remembers, under both of its paths; the original asked nobody who they are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from tests.interfaces.http.serving import Served


@pytest.fixture
async def eve(house: Served) -> AsyncIterator[httpx2.AsyncClient]:
    async with house.http(await house.token(f"eve-{uuid4().hex[:8]}")) as client:
        yield client


async def remember(client: httpx2.AsyncClient, *texts: str) -> list[str]:
    return [(await client.post("/v1/memories", json={"content": t})).json()["memory_id"] for t in texts]


async def texts(client: httpx2.AsyncClient, **query: Any) -> list[str]:
    found = (await client.get("/v1/memories", params=query)).json()
    return [memory["content"] for memory in found["memories"]]


async def test_what_is_to_be_remembered_is_found_again(eve: httpx2.AsyncClient) -> None:
    ids = await remember(eve, "她喜欢绿茶", "She plays the violin")
    listed = (await eve.get("/v1/memories")).json()
    assert [memory["id"] for memory in listed["memories"]] == ids[::-1]
    assert listed["total"] == 2
    assert listed["memories"][0]["created_at"].endswith("+00:00")
    assert await texts(eve, query="绿茶") == ["她喜欢绿茶"]
    assert await texts(eve, limit=1) == ["She plays the violin"]


async def test_the_same_again_is_the_same_memory(eve: httpx2.AsyncClient) -> None:
    first, again = await remember(eve, "She plays the violin", "she plays the violin!")
    assert first == again
    assert await texts(eve) == ["She plays the violin"]


@pytest.mark.parametrize("path", ["/v1/memories/search", "/v1/memory/search"])
async def test_a_search_tells_how_well_things_fit(eve: httpx2.AsyncClient, path: str) -> None:
    await remember(eve, "She plays the violin", "他住在上海")
    body = (await eve.post(path, json={"query": "violin", "limit": 3})).json()
    assert body["total_count"] == 1
    [found] = body["results"]
    assert found["memory"]["content"] == "She plays the violin"
    assert 0 < found["similarity"] <= 1
    assert found["distance"] == pytest.approx(1 - found["similarity"])


async def test_the_originals_paths(eve: httpx2.AsyncClient) -> None:
    me = (await eve.get("/v1/users/me")).json()["id"]
    made = await eve.post("/v1/memory/", json={"content": "tea", "user_id": me})
    assert made.status_code == 201
    stats = (await eve.get(f"/v1/memory/stats/{me}")).json()
    assert (stats["user_id"], stats["total_memories"]) == (me, 1)
    assert (await eve.get("/v1/memory/health")).json() == {"status": "ok"}
    gone = await eve.delete(f"/v1/memory/{made.json()['memory_id']}", params={"user_id": me})
    assert gone.json()["deleted"] == 1
    assert await texts(eve) == []


async def test_a_memory_is_said_better_and_forgotten(eve: httpx2.AsyncClient) -> None:
    one, two, _ = await remember(eve, "tea", "coffee", "water")
    assert (await eve.put(f"/v1/memories/{one}", json={"content": "green tea"})).status_code == 200
    assert (await eve.delete(f"/v1/memories/{two}")).json()["deleted"] == 1
    assert (await eve.delete(f"/v1/memories/{two}")).status_code == 404
    assert set(await texts(eve)) == {"green tea", "water"}
    assert (await eve.delete("/v1/memories")).json()["deleted"] == 2
    assert await texts(eve) == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param({"content": ""}, 422, id="empty"),
        pytest.param({"content": " \n"}, 422, id="blank"),
        pytest.param({"content": "!?"}, 400, id="no word"),
        pytest.param({"content": "x" * 4001}, 422, id="too long"),
        pytest.param({"content": 5}, 422, id="another type"),
        pytest.param({"content": "x", "user_id": str(uuid4())}, 404, id="another user's"),
    ],
)
async def test_what_cannot_be_remembered(eve: httpx2.AsyncClient, body: dict[str, Any], status: int) -> None:
    response = await eve.post("/v1/memories", json=body)
    assert response.status_code == status, response.json()
    assert await texts(eve) == []


async def test_nothing_is_forgotten_by_session(eve: httpx2.AsyncClient) -> None:
    me = (await eve.get("/v1/users/me")).json()["id"]
    session = (await eve.post("/v1/sessions", json={})).json()["session_id"]
    assert (await eve.delete(f"/v1/memory/session/{me}/{session}")).status_code == 501
    assert (await eve.delete(f"/v1/memory/session/{me}/{uuid4()}")).status_code == 404
    assert (await eve.delete(f"/v1/memory/session/{uuid4()}/{session}")).status_code == 404


async def test_a_stranger_is_told_nothing(nobody: httpx2.AsyncClient) -> None:
    for response in (
        await nobody.get("/v1/memories"),
        await nobody.post("/v1/memory/search", json={"query": "x", "user_id": str(uuid4())}),
        await nobody.get(f"/v1/memory/stats/{uuid4()}"),
        await nobody.delete(f"/v1/memory/{uuid4()}"),
    ):
        assert response.status_code == 401
