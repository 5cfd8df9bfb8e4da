"""Rows 10 to 14 and 24: conversations."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from cozy.interfaces.http.cozychat.sessions import said_in
from cozy.ports.store import StoredMessage, TurnRecord
from cozy.turn import Message, SessionId, ToolCall, TurnId, UserId
from tests.interfaces.http.serving import Served

UUID_PATTERN = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
BASES = ["/v1/sessions", "/v1/chat/sessions"]
NOON = datetime(2026, 1, 13, 12, 0, tzinfo=UTC)


@pytest.fixture
async def eve(house: Served) -> AsyncIterator[httpx2.AsyncClient]:
    """Somebody without conversations."""
    async with house.http(await house.token(f"eve-{uuid4().hex[:8]}")) as client:
        yield client


async def made(client: httpx2.AsyncClient, **fields: Any) -> dict[str, Any]:
    response = await client.post("/v1/sessions", json=fields)
    assert response.status_code == 201, response.json()
    return response.json()


# making


@pytest.mark.parametrize("path", BASES)
async def test_a_session_begins_with_a_welcome(eve: httpx2.AsyncClient, path: str) -> None:
    response = await eve.post(path, json={"title": "新会话", "personality_id": "health_assistant"})
    body = response.json()
    assert response.status_code == 201
    assert UUID_PATTERN.fullmatch(body["session_id"])
    assert (body["personality_id"], body["title"]) == ("health_assistant", "新会话")
    assert body["created_at"].endswith("+00:00")
    detail = (await eve.get(f"/v1/sessions/{body['session_id']}")).json()
    [welcome] = detail["messages"]
    assert welcome["role"] == "assistant"
    assert welcome["content"].startswith("主人好")
    assert welcome["metadata"] == {"is_welcome": True}
    [item] = (await eve.get("/v1/sessions")).json()["sessions"]
    assert item["message_count"] == 1


async def test_a_welcome_is_rendered(eve: httpx2.AsyncClient) -> None:
    session = await made(eve)
    [welcome] = (await eve.get(f"/v1/sessions/{session['session_id']}")).json()["messages"]
    assert session["personality_id"] == "default"
    assert "I am Cozy" in welcome["content"]


async def test_a_personality_without_a_welcome_says_nothing(eve: httpx2.AsyncClient) -> None:
    session = await made(eve, personality_id="mia", title=None)
    detail = (await eve.get(f"/v1/sessions/{session['session_id']}")).json()
    assert (detail["messages"], detail["total_messages"], detail["title"]) == ([], 0, "新会话")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param({"personality_id": "nobody"}, 404, id="unknown personality"),
        pytest.param({"title": "x" * 256}, 422, id="long title"),
        pytest.param({"title": 5}, 422, id="title of another type"),
        pytest.param([], 422, id="no object"),
    ],
)
async def test_a_session_that_cannot_be_made(eve: httpx2.AsyncClient, body: Any, status: int) -> None:
    response = await eve.post("/v1/sessions", json=body)
    assert response.status_code == status
    assert isinstance(response.json()["detail"], str)
    assert (await eve.get("/v1/sessions")).json()["total"] == 0


# the list


@pytest.mark.parametrize("path", BASES)
async def test_the_list_that_the_side_bar_reads(eve: httpx2.AsyncClient, path: str) -> None:
    await made(eve, title="one", personality_id="mia")
    await made(eve, title="two", personality_id="default")
    response = await eve.get(path, params={"sort": "last_message_at", "order": "desc"})
    body = response.json()
    assert (body["total"], body["page"], body["page_size"]) == (2, 1, 20)
    assert "data" not in body
    assert [item["title"] for item in body["sessions"]] == ["two", "one"]
    two, one = body["sessions"]
    assert (two["personality_name"], two["archived"]) == ("Cozy", False)
    assert (one["message_count"], one["last_message_at"]) == (0, None)
    assert one["created_at"].endswith("+00:00")
    assert two["last_message_at"].endswith("+00:00")


async def test_the_list_is_filtered_sorted_and_paged(eve: httpx2.AsyncClient) -> None:
    for title, personality in (("b", "mia"), ("c", "plain"), ("a", "mia")):
        await made(eve, title=title, personality_id=personality)

    async def titles(**query: Any) -> list[str]:
        return [item["title"] for item in (await eve.get("/v1/sessions", params=query)).json()["sessions"]]

    assert await titles(personality_id="mia") == ["a", "b"]
    assert await titles(sort="title", order="asc") == ["a", "b", "c"]
    assert await titles(sort="created_at", order="asc") == ["b", "c", "a"]
    assert await titles(page=2, page_size=2) == ["b"]
    assert await titles(page=9) == []
    assert await titles(extra="x") == ["a", "c", "b"]


@pytest.mark.parametrize(
    "query",
    [{"page": 0}, {"page_size": 101}, {"page_size": "many"}, {"sort": "user_id"}, {"order": "up"}],
    ids=str,
)
async def test_a_list_that_cannot_be(eve: httpx2.AsyncClient, query: dict[str, Any]) -> None:
    response = await eve.get("/v1/sessions", params=query)
    assert response.status_code == 422
    assert response.json()["error"]["param"] == next(iter(query))


async def test_a_session_whose_personality_is_gone_is_listed_without_its_name(
    house: Served, eve: httpx2.AsyncClient
) -> None:
    user_id = UserId(UUID((await eve.get("/v1/users/me")).json()["id"]))
    await house.service.sessions.create(user_id, "gone")
    [item] = (await eve.get("/v1/sessions")).json()["sessions"]
    assert (item["personality_id"], item["personality_name"], item["title"]) == ("gone", None, "新会话")


# changes


async def test_a_rename(eve: httpx2.AsyncClient) -> None:
    session_id = (await made(eve))["session_id"]
    response = await eve.put(f"/v1/sessions/{session_id}", json={"title": " 睡眠 😴 "})
    body = response.json()
    assert (body["session_id"], body["title"]) == (session_id, "睡眠 😴")
    assert body["updated_at"].endswith("+00:00")
    assert (await eve.get(f"/v1/sessions/{session_id}")).json()["title"] == "睡眠 😴"


@pytest.mark.parametrize("title", ["", "  ", "茶" * 256, 5], ids=repr)
async def test_a_title_that_is_none(eve: httpx2.AsyncClient, title: object) -> None:
    session_id = (await made(eve, title="old"))["session_id"]
    assert (await eve.put(f"/v1/sessions/{session_id}", json={"title": title})).status_code == 422
    assert (await eve.get(f"/v1/sessions/{session_id}")).json()["title"] == "old"


@pytest.mark.parametrize("base", BASES)
async def test_an_archived_session_is_out_of_the_way(eve: httpx2.AsyncClient, base: str) -> None:
    path = f"{base}/{(await made(eve))['session_id']}"
    for put, back in (
        (lambda: eve.post(f"{path}/archive"), lambda: eve.post(f"{path}/unarchive")),
        (lambda: eve.put(path, json={"archived": True}), lambda: eve.put(path, json={"archived": False})),
    ):
        assert (await put()).json()["archived"] is True
        assert (await eve.get(base)).json()["total"] == 0
        assert (await eve.get(base, params={"archived": "true"})).json()["total"] == 1
        assert (await eve.get(base, params={"archived": "all"})).json()["total"] == 1
        assert (await eve.get(path)).json()["archived"] is True
        assert (await back()).json()["archived"] is False
        assert (await eve.get(base)).json()["total"] == 1


@pytest.mark.parametrize("base", BASES)
async def test_a_deleted_session_is_gone(eve: httpx2.AsyncClient, base: str) -> None:
    session_id = (await made(eve))["session_id"]
    response = await eve.delete(f"{base}/{session_id}")
    assert (response.status_code, response.json()["session_id"]) == (200, session_id)
    assert (await eve.get("/v1/sessions")).json()["total"] == 0
    for again in (await eve.get(f"{base}/{session_id}"), await eve.delete(f"{base}/{session_id}")):
        assert again.status_code == 404
        assert again.json()["detail"] == again.json()["message"]


@pytest.mark.parametrize(
    "id_",
    [
        "1",
        "new",
        "null",
        "x" * 36,
        "{4f9d3c52-8a0e-4f5e-9a57-0d1c6f8f2b11}",
        "4f9d3c528a0e4f5e9a570d1c6f8f2b11",
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_an_id_that_is_none(eve: httpx2.AsyncClient, method: str, id_: str) -> None:
    body = {"title": "x"} if method == "PUT" else None
    response = await eve.request(method, f"/v1/sessions/{id_}", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "VALIDATION_ID"


# what is shown of a conversation


def row(turn: TurnId, message: Message, place: int = 0, **metadata: Any) -> StoredMessage:
    return StoredMessage(uuid4(), SessionId(uuid4()), turn, place, message, metadata, NOON)


def shown(*rows: StoredMessage) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in said_in(rows)]


def test_tools_are_not_shown_and_a_turns_words_are_one_reply() -> None:
    turn, call = TurnId(uuid4()), ToolCall("call_1", "calculator", "{}")
    rows = [
        row(turn, Message("user", "6*7?")),
        row(turn, Message("assistant", "Let me see.", (call,))),
        row(turn, Message("tool", "42", tool_call_id="call_1")),
        row(turn, Message("assistant", "It is 42."), model="house/fake"),
    ]
    assert shown(*rows) == [("user", "6*7?"), ("assistant", "Let me see.\n\nIt is 42.")]
    *_, reply = said_in(rows)
    assert (reply.id, reply.metadata) == (str(rows[-1].id), {"model": "house/fake"})


def test_replies_that_say_nothing_are_left_out() -> None:
    turn, call = TurnId(uuid4()), ToolCall("call_1", "calculator", "{}")
    cut_off = [row(turn, Message("user", "hi")), row(turn, Message("assistant", ""))]
    calling = [row(turn, Message("user", "6*7?")), row(turn, Message("assistant", "", (call,)))]
    assert shown(*cut_off) == [("user", "hi")]
    assert shown(*calling) == [("user", "6*7?")]


def test_messages_of_several_turns_stay_apart() -> None:
    rows = [row(TurnId(uuid4()), Message("assistant", text)) for text in ("one", "two")]
    assert shown(*rows) == [("assistant", "one"), ("assistant", "two")]


@pytest.mark.parametrize("path", ["/v1/sessions/{}/messages", "/v1/chat/sessions/{}/messages"])
async def test_the_last_messages_can_be_read_alone(house: Served, eve: httpx2.AsyncClient, path: str) -> None:
    user_id = UserId(UUID((await eve.get("/v1/users/me")).json()["id"]))
    session = await house.service.sessions.create(user_id, "mia")
    for number in range(3):
        said = (Message("user", f"{number}?"), Message("assistant", f"{number}!"))
        turn = TurnRecord(TurnId(uuid4()), user_id, session.id, "mia", said, "complete", 1, {})
        await house.service.engine.ports.store.save_turn(turn)
    place = path.format(session.id)
    everything = (await eve.get(place)).json()
    assert [m["content"] for m in everything["messages"]] == ["0?", "0!", "1?", "1!", "2?", "2!"]
    assert everything["total_messages"] == 6
    last = (await eve.get(place, params={"limit": 3})).json()
    assert ([m["content"] for m in last["messages"]], last["total_messages"]) == (["1!", "2?", "2!"], 6)


# voice calls


async def test_a_voice_call_is_kept_as_it_was_spoken(eve: httpx2.AsyncClient) -> None:
    session_id = (await made(eve, personality_id="mia"))["session_id"]
    soon = (datetime.now(UTC) + timedelta(hours=5)).isoformat()
    spoken = [
        {"role": "user", "content": "几点了？", "timestamp": "2026-01-13T10:30:00.000Z"},
        {"role": "assistant", "content": "十点半。", "timestamp": "2026-01-13T10:30:02.500"},
        {"role": "user", "content": "  "},
        {"role": "user", "content": "谢谢", "timestamp": soon},
        {"role": "assistant", "content": "不客气"},
    ]
    body = {"session_id": session_id, "messages": spoken}
    response = await eve.post("/v1/chat/voice-call-messages", json=body)
    assert response.status_code == 200
    assert (response.json()["saved_count"], response.json()["session_id"]) == (4, session_id)
    messages = (await eve.get(f"/v1/sessions/{session_id}")).json()["messages"]
    assert [(m["role"], m["content"]) for m in messages] == [
        ("user", "几点了？"),
        ("assistant", "十点半。"),
        ("user", "谢谢"),
        ("assistant", "不客气"),
    ]
    assert all(m["metadata"] == {"is_voice_call": True} for m in messages)
    times = [m["created_at"] for m in messages]
    assert times[:2] == ["2026-01-13T10:30:00+00:00", "2026-01-13T10:30:02.500000+00:00"]
    assert datetime.fromisoformat(times[2]) <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        pytest.param({"session_id": "x"}, 400, id="no id"),
        pytest.param({"session_id": str(uuid4())}, 404, id="unknown session"),
        pytest.param({"messages": [{"role": "system", "content": "obey"}]}, 422, id="other role"),
        pytest.param({"messages": [{"role": "user"}]}, 422, id="no content"),
        pytest.param(
            {"messages": [{"role": "user", "content": "x", "timestamp": "0001-01-01T00:00:00+14:00"}]},
            422,
            id="before the calendar",
        ),
        pytest.param({"messages": [{"role": "user", "content": "x"}] * 2001}, 422, id="too many"),
    ],
)
async def test_a_voice_call_that_is_not_kept(
    eve: httpx2.AsyncClient, change: dict[str, Any], status: int
) -> None:
    session_id = (await made(eve, personality_id="mia"))["session_id"]
    body = {"session_id": session_id, "messages": [{"role": "user", "content": "hi"}], **change}
    response = await eve.post("/v1/chat/voice-call-messages", json=body)
    assert response.status_code == status
    assert isinstance(response.json()["detail"], str)
    assert (await eve.get(f"/v1/sessions/{session_id}")).json()["messages"] == []
