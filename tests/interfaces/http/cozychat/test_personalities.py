"""Rows 8 and 9: who can be talked to, and how one of them speaks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from tests.interfaces.http.serving import Served, served

LUNA = """\
id: luna
name: Luna
description: sings
language: en
welcome: Hello.
metadata:
  icon: 🌙
  tags: music, night
model:
  temperature: 0.5
  max_tokens: 300
tools:
  - calculator
prompt: You are {{ personality.name }}.
voice:
  tts:
    voice: coral
    speed: 1.25
  prompt: Be brief.
pipeline: minimal
"""


@pytest.fixture
async def nights(tmp_path: Path, sqlite_url: str) -> AsyncIterator[Served]:
    async with served(tmp_path, sqlite_url, personalities={"luna": LUNA}) as house:
        yield house


async def test_the_list_is_an_array_under_data_with_the_ids_that_the_client_looks_for(
    ann: httpx2.AsyncClient,
) -> None:
    body = (await ann.get("/v1/personalities")).json()
    ids = [item["id"] for item in body["data"]]
    assert body["personalities"] == body["data"]
    assert body["total"] == len(ids)
    assert ids[0] == "default"
    assert {"health_assistant", "mia"} <= set(ids)
    assert [item["id"] for item in body["data"] if item["is_default"]] == ["default"]
    assert body["data"][0] == {
        "id": "default",
        "name": "Cozy",
        "description": body["data"][0]["description"],
        "icon": "🤖",
        "tags": [],
        "is_default": True,
        "created_at": None,
    }


async def test_what_an_author_says_of_a_personality_is_told(nights: Served) -> None:
    async with nights.http(await nights.token("ann")) as client:
        listed = (await client.get("/v1/personalities")).json()["data"]
        luna = (await client.get("/v1/personalities/luna")).json()
    [item] = [item for item in listed if item["id"] == "luna"]
    assert (item["icon"], item["tags"], item["description"]) == ("🌙", ["music", "night"], "sings")
    prompt = "You are Luna.\n\nBe brief."
    assert luna["voice"] == {
        "stt": {},
        "tts": {"voice": "coral", "speed": 1.25},
        "realtime": {"enabled": True, "provider": "openai", "instructions": prompt, "voice": "coral"},
    }
    assert luna["ai"] == {
        "provider": "demo",
        "model": "demo",
        "temperature": 0.5,
        "max_tokens": 300,
        "system_prompt": prompt,
        "token_budget": {},
    }
    assert (luna["config"]["voice"], luna["config"]["ai"]) == (luna["voice"], luna["ai"])
    assert luna["config"]["welcome_message"] == "Hello."
    assert luna["config"]["tools"]["allowed_tools"] == ["calculator"]
    assert luna["metadata"] == {"icon": "🌙", "tags": "music, night"}


async def test_what_a_personality_does_not_say_is_left_to_the_clients_defaults(
    ann: httpx2.AsyncClient,
) -> None:
    mia = (await ann.get("/v1/personalities/mia")).json()
    assert mia["voice"]["tts"] == {}
    assert "voice" not in mia["voice"]["realtime"]
    assert mia["ai"]["system_prompt"] == "You are mia."


async def test_an_unknown_personality_is_not_found(ann: httpx2.AsyncClient) -> None:
    response = await ann.get("/v1/personalities/nobody")
    assert response.status_code == 404
    assert "nobody" in response.json()["detail"]


async def test_nobody_writes_personalities_over_http(
    ann: httpx2.AsyncClient, admin: httpx2.AsyncClient
) -> None:
    assert (await ann.post("/v1/personalities", json={"id": "x"})).status_code == 403
    for response in (
        await admin.post("/v1/personalities", json={"id": "x"}),
        await admin.put("/v1/personalities/mia", json={"id": "x"}),
    ):
        assert response.status_code == 501
        assert response.json()["error"]["code"] == "RESOURCE_NOT_IMPLEMENTED"


async def test_admins_have_personalities_read_again(
    ann: httpx2.AsyncClient, admin: httpx2.AsyncClient
) -> None:
    assert (await ann.post("/v1/personalities/reload")).status_code == 403
    assert (await admin.post("/v1/personalities/reload")).json()["reloaded"] is True
