"""Rows 4 and 5: how a user likes the front end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from cozy.interfaces.http.cozychat.preferences import preferences_of
from cozy.ports.identity import UserChange
from tests.interfaces.http.serving import Served

PATH = "/v1/users/me/preferences"
AT_FIRST = {
    "default_personality": "health_assistant",
    "language": "zh-CN",
    "theme": "blue",
    "auto_tts": False,
    "always_show_voice_input": False,
    "timezone": "Asia/Shanghai",
    "show_reasoning": False,
}


@pytest.fixture
async def new(house: Served) -> AsyncIterator[httpx2.AsyncClient]:
    """Somebody who has set nothing yet."""
    async with house.http(await house.token(f"new-{uuid4().hex[:8]}")) as client:
        yield client


async def test_a_new_user_has_every_preference(new: httpx2.AsyncClient) -> None:
    assert (await new.get(PATH)).json() == {"preferences": AT_FIRST}


@pytest.mark.parametrize(
    "change",
    [
        {"auto_tts": True},
        {"always_show_voice_input": True},
        {"timezone": "Asia/Tokyo"},
        {"theme": "cyan"},
        {"default_personality": "mia"},
        {"language": "en", "show_reasoning": True},
        {"chatBackgroundStyle": "stars"},
        {"notifications": {"email": True, "sound": False}},
        {"privacy": {"share": False}},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_what_is_sent_changes_and_the_rest_stays(
    new: httpx2.AsyncClient, change: dict[str, Any]
) -> None:
    response = await new.put(PATH, json=change)
    assert response.status_code == 200
    assert isinstance(response.json()["message"], str)
    assert response.json()["preferences"] == {**AT_FIRST, **change}
    assert (await new.get(PATH)).json()["preferences"] == {**AT_FIRST, **change}


async def test_changes_add_up(new: httpx2.AsyncClient) -> None:
    for change in ({"auto_tts": True}, {"theme": "pink"}, {"auto_tts": False, "timezone": None}):
        assert (await new.put(PATH, json=change)).status_code == 200
    assert (await new.get(PATH)).json()["preferences"] == {**AT_FIRST, "theme": "pink"}


async def test_unknown_keys_are_let_through_and_not_kept(new: httpx2.AsyncClient) -> None:
    response = await new.put(PATH, json={"role": "admin", "auto_tts": True})
    assert response.json()["preferences"] == {**AT_FIRST, "auto_tts": True}


@pytest.mark.parametrize(
    "change",
    [
        {"theme": "red"},
        {"auto_tts": "yes"},
        {"timezone": "Moon/Sea"},
        {"timezone": "../../etc/passwd"},
        {"timezone": "x\u0000"},
        {"default_personality": "nobody"},
        {"language": "z" * 100},
    ],
    ids=str,
)
async def test_a_value_that_cannot_be_is_refused_and_nothing_changes(
    new: httpx2.AsyncClient, change: dict[str, Any]
) -> None:
    response = await new.put(PATH, json={"show_reasoning": True, **change})
    assert response.status_code == 422
    assert response.json()["error"]["param"] == next(iter(change))
    assert (await new.get(PATH)).json()["preferences"] == AT_FIRST


async def test_a_personality_that_is_gone_is_no_default_any_more(house: Served) -> None:
    user = await house.user("faithful")
    change = UserChange(preferences={"default_personality": "gone"})
    user = await house.identity.change_user(user.id, change)
    assert preferences_of(user, house.service)["default_personality"] == "health_assistant"
