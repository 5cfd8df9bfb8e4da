"""Rounds of the client's own tools, taken up again: in a session and without one."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.interfaces.http.serving import Served
from tests.upstream import Upstream, calls, says

PATH = "/v1/chat/completions"
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
ASKED: list[Any] = [{"role": "user", "content": "tea or rain?"}]


@pytest.fixture
async def client(house: Served, ada: str):
    async with house.http(ada) as client:
        yield client


async def ask(client: httpx2.AsyncClient, messages: list[Any], **cozy: str) -> dict[str, Any]:
    body = {"model": "mia", "messages": messages, "tools": [WEATHER], "cozy": cozy}
    told = await client.post(PATH, json=body)
    assert told.status_code == 200, told.text
    return told.json()


def result(answer: dict[str, Any], words: str) -> dict[str, Any]:
    """The client's answer to the one call that it was told of."""
    [call] = answer["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "weather"
    return {"role": "tool", "tool_call_id": call["id"], "content": words}


def roles(up: Upstream, request: int) -> list[str]:
    return [message["role"] for message in up.requests[request].body["messages"]]


async def test_a_session_goes_on_with_results_round_after_round(
    client: httpx2.AsyncClient, up: Upstream
) -> None:
    up.then(
        says("Hello."), calls(("weather", "{}")), calls(("weather", '{"day": 2}')), says("Rain, then sun.")
    )
    first = await ask(client, [{"role": "user", "content": "hi"}], session_id="new")
    session = first["cozy"]["session_id"]
    asked = await ask(client, ASKED, session_id=session)
    again = await ask(client, [result(asked, "rain")], session_id=session)
    last = await ask(client, [result(again, "sun")], session_id=session)
    assert last["choices"][0]["message"]["content"] == "Rain, then sun."
    assert roles(up, 3) == ["system", "user", "assistant", "user", *["assistant", "tool"] * 2]
    for one, next_ in ((1, 2), (2, 3)):  # the prompt goes on where it was, so that servers find its beginning
        before = up.requests[one].body["messages"]
        assert up.requests[next_].body["messages"][: len(before)] == before
    await ask(client, [{"role": "user", "content": "and?"}], session_id=session)
    said = ["user", "assistant", "user", *["assistant", "tool"] * 2, "assistant", "user"]
    assert roles(up, 4) == ["system", *said], "all is stored once"


@pytest.mark.parametrize("session", [True, False], ids=["in a session", "without one"])
async def test_what_our_tools_gave_in_a_mixed_round_is_there_when_the_client_comes_back(
    client: httpx2.AsyncClient, up: Upstream, session: bool
) -> None:
    up.then(calls(("calculator", '{"expression": "6*7"}'), ("weather", "{}")), says("42 and rain."))
    asked = await ask(client, ASKED, **({"session_id": "new"} if session else {}))
    told = result(asked, "rain")
    if session:
        answer = await ask(client, [told], session_id=asked["cozy"]["session_id"])
    else:
        answer = await ask(client, [*ASKED, asked["choices"][0]["message"], told])
    assert answer["choices"][0]["message"]["content"] == "42 and rain."
    sent = up.requests[1].body["messages"][-3:]
    assert [call["function"]["name"] for call in sent[0]["tool_calls"]] == ["calculator", "weather"]
    assert [(m["role"], m["content"]) for m in sent[1:]] == [("tool", "42"), ("tool", "rain")]


async def test_a_result_that_nothing_waits_for_is_refused(client: httpx2.AsyncClient, up: Upstream) -> None:
    first = await ask(client, ASKED, session_id="new")
    stray = {"role": "tool", "tool_call_id": "call_9", "content": "rain"}
    body = {"messages": [stray], "cozy": {"session_id": first["cozy"]["session_id"]}}
    told = await client.post(PATH, json=body)
    assert (told.status_code, told.json()["error"]["param"]) == (400, "messages[-1].tool_call_id")


async def test_people_of_one_role_are_told_apart(client: httpx2.AsyncClient, up: Upstream) -> None:
    said = [{"role": "user", "content": "tea?", "name": name} for name in ("ada", "bob")]
    await ask(client, said)
    assert [m.get("name") for m in up.requests[0].body["messages"][1:]] == ["ada", "bob"]
