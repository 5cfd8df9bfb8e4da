"""Rows 3, 6 and 7: who the caller is, and what they say of themselves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from cozy.ports.memory import Exchange
from cozy.turn import Message, TurnId
from tests.interfaces.http.serving import Served

PICTURE = "data:image/png;base64," + "iVBORw0KGgo" * 100


async def id_of(client: httpx2.AsyncClient) -> str:
    return (await client.get("/v1/users/me")).json()["id"]


async def test_the_header_bar_asks_who_is_there(house: Served, ann: httpx2.AsyncClient) -> None:
    user = await house.user("ann")
    for path in ("/v1/users/me", f"/v1/users/{user.id}"):
        me = (await ann.get(path)).json()
        created = datetime.fromisoformat(me.pop("created_at"))
        assert created == user.created_at
        assert created.tzinfo is not None
        assert me.pop("preferences")["theme"] == "blue"
        assert me == {
            "id": str(user.id),
            "username": "ann",
            "email": None,
            "role": "user",
            "display_name": None,
            "avatar_url": None,
            "bio": None,
        }


async def test_a_profile_has_both_levels_and_a_list_of_interests(house: Served) -> None:
    async with house.http(await house.token("shy")) as client:
        user_id = await id_of(client)
        for path in ("/v1/users/me/profile", f"/v1/users/{user_id}/profile"):
            assert (await client.get(path)).json() == {
                "user_id": user_id,
                "display_name": None,
                "bio": None,
                "interests": [],
                "avatar_url": None,
                "profile": {
                    "interests": [],
                    "habits": {},
                    "personality_insights": {},
                    "statistics": {"facts": 0},
                },
                "generated_at": None,
            }


@pytest.mark.parametrize(
    "change",
    [
        {"display_name": "安娜 😀"},
        {"bio": "我喜欢茶。"},
        {"interests": ["tea", "睡眠"]},
        {"avatar_url": PICTURE},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_each_field_is_kept_when_it_is_left(ann: httpx2.AsyncClient, change: dict[str, Any]) -> None:
    response = await ann.put(f"/v1/users/{await id_of(ann)}/profile", json=change)
    assert response.status_code == 200
    [(name, value)] = change.items()
    assert response.json()[name] == value
    assert (await ann.get("/v1/users/me/profile")).json()[name] == value


async def test_a_large_picture_is_kept(house: Served) -> None:
    picture = "data:image/png;base64," + "A" * 4_000_000
    async with house.http(await house.token("painter")) as client:
        assert (await client.put("/v1/users/me/profile", json={"avatar_url": picture})).status_code == 200
        assert (await client.get("/v1/users/me/profile")).json()["avatar_url"] == picture
        assert (await client.put("/v1/users/me/profile", json={"avatar_url": ""})).status_code == 200
        assert (await client.get("/v1/users/me/profile")).json()["avatar_url"] is None


@pytest.mark.parametrize(
    "change",
    [
        {"avatar_url": "https://example.com/me.png"},
        {"avatar_url": "javascript:alert(1)"},
        {"avatar_url": "data:text/html,<script>"},
        {"avatar_url": "data:image/png;base64," + "A" * 5_000_000},
        {"interests": "tea"},
        {"interests": ["x"] * 101},
        {"interests": [5]},
        {"display_name": "x" * 101},
        {"display_name": "a\nb"},
        {"bio": "x" * 5001},
    ],
    ids=lambda change: str(change)[:50],
)
async def test_what_cannot_be_shown_is_refused(ben: httpx2.AsyncClient, change: dict[str, Any]) -> None:
    response = await ben.put("/v1/users/me/profile", json=change)
    assert response.status_code == 422
    assert isinstance(response.json()["detail"], str)
    assert (await ben.get("/v1/users/me/profile")).json()["interests"] == []


async def test_the_own_account_is_changed_at_two_paths(house: Served) -> None:
    async with house.http(await house.token("cleo")) as client:
        user_id = await id_of(client)
        first = await client.put("/v1/users/me", json={"display_name": "Cleo", "bio": "Queen"})
        second = await client.put(f"/v1/users/{user_id}", json={"display_name": ""})
    expected = {"id": user_id, "username": "cleo", "avatar_url": None, "bio": "Queen"}
    assert first.json()["user"] == {**expected, "display_name": "Cleo"}
    assert second.json()["user"] == {**expected, "display_name": None}


async def test_what_cozy_has_learned_stands_in_the_profile(house: Served) -> None:
    user = await house.user("dora")
    said = (Message("user", "My name is Dora and I live in Oslo."), Message("assistant", "Hello Dora."))
    exchange = Exchange(TurnId(uuid4()), user.id, None, "mia", "demo/demo", said)
    await house.service.engine.ports.profiles.learn(exchange)
    async with house.http(await house.token("dora")) as client:
        profile = (await client.get("/v1/users/me/profile")).json()
    told = [
        value for topic in profile["profile"]["personality_insights"].values() for value in topic.values()
    ]
    assert any("Dora" in value for value in told)
    assert datetime.fromisoformat(profile["generated_at"]) <= datetime.now(UTC)


async def test_stats_count_what_somebody_has_talked(house: Served) -> None:
    async with house.http(await house.token("chatty")) as client:
        await client.post("/v1/sessions", json={"personality_id": "default"})
        stats = (await client.get("/v1/users/me/stats")).json()
    assert (stats["username"], stats["role"], stats["status"]) == ("chatty", "user", "active")
    assert (stats["total_sessions"], stats["total_messages"], stats["total_tokens_used"]) == (1, 1, 0)
    assert stats["last_login_at"].endswith("+00:00")
    assert stats["profile"]["interests"] == []
