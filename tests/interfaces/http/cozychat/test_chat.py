"""Row 15: talking, as the front end does it and reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import httpx2
import pytest
from starlette.datastructures import Headers

from cozy.errors import InvalidRequest
from cozy.interfaces.http.cozychat.chat import DIALECT
from tests.interfaces.http.serving import Served, served
from tests.upstream import Answer, Cut, Hold, Upstream, calls, chunk, plain, says, sse

PATH = "/v1/chat/completions"


class Reader:
    """Reads a stream as the front end does; see `cozychat-api.md`, 4.5."""

    def __init__(self, text: str) -> None:
        self.content, self.tools, self.ran = "", list[str](), 0
        self.roles, self.finish, self.done = 0, list[str](), 0
        self.ids, self.models = set[str](), set[str]()
        collected: dict[int, dict[str, str]] = {}
        assert "\r" not in text
        assert text.endswith("data: [DONE]\n\n")
        for line in text.split("\n"):
            if not line.startswith("data: "):
                continue
            if line == "data: [DONE]":
                self.done += 1
                continue
            event = json.loads(line.removeprefix("data: "))
            self.ids.add(event["id"])
            self.models.add(event["model"])
            [choice] = event["choices"]
            delta = choice["delta"]
            self.roles += "role" in delta
            self.content += delta.get("content") or ""
            for call in delta.get("tool_calls", ()):
                one = collected.setdefault(call["index"], {"name": "", "arguments": ""})
                one["name"] = call["function"].get("name") or one["name"]
                one["arguments"] += call["function"].get("arguments", "")
            if (reason := choice["finish_reason"]) is not None:
                self.finish.append(reason)
                if reason == "tool_calls" and collected:
                    self.tools += [f"{one['name']}({one['arguments']})" for one in collected.values()]
                    collected.clear()
                    self.ran += 1


def body(*texts: str, **fields: Any) -> dict[str, Any]:
    """What the front end sends: its whole history, the new text last."""
    roles = ("assistant", "user") if len(texts) % 2 == 0 else ("user", "assistant")
    messages = [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]
    return {
        "messages": messages,
        "personality_id": "mia",
        "stream": True,
        "use_memory": True,
        **fields,
    }


async def talk(client: httpx2.AsyncClient, sent: Mapping[str, Any]) -> Reader:
    response = await client.post(PATH, json=sent)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"].startswith("no-cache")
    return Reader(response.text)


async def session_of(client: httpx2.AsyncClient, personality: str = "mia") -> str:
    made = await client.post("/v1/sessions", json={"title": "新会话", "personality_id": personality})
    return made.json()["session_id"]


async def said(client: httpx2.AsyncClient, session_id: str) -> list[tuple[str, str]]:
    detail = (await client.get(f"/v1/sessions/{session_id}")).json()
    return [(message["role"], message["content"]) for message in detail["messages"]]


# a reply


async def test_a_reply_is_streamed_and_kept(ann: httpx2.AsyncClient, up: Upstream) -> None:
    session_id = await session_of(ann)
    up.then(says("你", "好"))
    read = await talk(ann, body("welcome", "在吗？", session_id=session_id))
    assert (read.content, read.finish, read.done, read.roles) == ("你好", ["stop"], 1, 1)
    assert (len(read.ids), read.models) == (1, {"mia"})
    assert await said(ann, session_id) == [("user", "在吗？"), ("assistant", "你好")]


async def test_of_the_history_that_the_client_sends_the_last_message_alone_is_new(
    ann: httpx2.AsyncClient, up: Upstream
) -> None:
    session_id = await session_of(ann)
    await talk(ann, body("one", session_id=session_id))
    await talk(ann, body("one", "changed by the client", "two", session_id=session_id))
    assert [text for role, text in await said(ann, session_id) if role == "user"] == ["one", "two"]
    sent = [message["content"] for message in up.requests[-1].body["messages"]]
    assert sent[1:] == ["one", "Hi there", "two"]


async def test_empty_replies_in_the_history_are_nothing(ann: httpx2.AsyncClient, up: Upstream) -> None:
    messages = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": None},
        {"role": "user", "content": "two", "id": "m1", "created_at": "2026"},
    ]
    read = await talk(ann, {"messages": messages, "personality_id": "mia", "stream": True, "extra": [1]})
    assert read.content == "Hi there"
    sent = [(m["role"], m["content"]) for m in up.requests[-1].body["messages"]]
    assert sent[1:] == [("user", "one"), ("user", "two")]


async def test_the_personality_of_the_request_goes_before_the_sessions(
    ann: httpx2.AsyncClient, up: Upstream
) -> None:
    session_id = await session_of(ann, "mia")
    await talk(ann, body("hi", session_id=session_id, personality_id="plain"))
    assert up.requests[-1].body["messages"][0]["content"] == "You are plain."
    await talk(ann, body("hi", "ok", "again", session_id=session_id, personality_id=None))
    assert up.requests[-1].body["messages"][0]["content"] == "You are mia."


async def test_what_openai_knows_too_is_passed_on(ann: httpx2.AsyncClient, up: Upstream) -> None:
    own = {"temperature": 0.2, "max_tokens": 9, "top_p": 0.5, "frequency_penalty": 1, "presence_penalty": -1}
    await talk(ann, body("hi", **own))
    asked = up.requests[-1].body
    assert {name: asked.get(name) for name in own} == own


async def test_a_client_names_neither_user_nor_engine(
    house: Served, ann: httpx2.AsyncClient, ben: httpx2.AsyncClient, up: Upstream
) -> None:
    bens = (await ben.get("/v1/users/me")).json()["id"]
    session_id = await session_of(ann)
    read = await talk(
        ann, body("hi", session_id=session_id, user_id=bens, engine_type="ollama", model="gpt-4")
    )
    assert read.content == "Hi there"
    assert up.requests[-1].body["model"] == "fake"
    assert await said(ann, session_id) == [("user", "hi"), ("assistant", "Hi there")]
    assert (await ben.get(f"/v1/sessions/{session_id}")).status_code == 404


async def test_a_plain_answer_is_openais_object_with_a_little_more(
    ann: httpx2.AsyncClient, up: Upstream
) -> None:
    response = await ann.post(PATH, json=body("hi", stream=False))
    whole = response.json()
    assert response.status_code == 200
    assert whole["object"] == "chat.completion"
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": "Hi there"}
    assert whole["choices"][0]["finish_reason"] == "stop"
    assert whole["usage"]["total_tokens"] == 13
    assert (whole["personality"], whole["memories_used"], whole["tools_called"]) == ("mia", None, None)


async def test_a_request_that_comes_again_is_told_the_same_once_more(
    ann: httpx2.AsyncClient, up: Upstream
) -> None:
    session_id = await session_of(ann)
    headers = {"idempotency-key": uuid4().hex}
    texts = [
        (await ann.post(PATH, json=body("hi", session_id=session_id), headers=headers)).text for _ in range(2)
    ]
    first, again = map(Reader, texts)
    assert (again.content, again.finish, again.roles) == (first.content, first.finish, first.roles)
    assert len(up.requests) == 1
    assert await said(ann, session_id) == [("user", "hi"), ("assistant", "Hi there")]


# tools


async def test_rounds_of_tools_are_shown_and_the_words_go_on(ann: httpx2.AsyncClient, up: Upstream) -> None:
    session_id = await session_of(ann)
    up.then(
        calls(("calculator", '{"expression": "6*7"}'), ("calculator", '{"expression": "1+1"}')),
        calls(("calculator", '{"expression": "42+2"}')),
        says("It is ", "44."),
    )
    read = await talk(ann, body("6*7+1+1?", session_id=session_id))
    assert read.tools == [
        'calculator({"expression": "6*7"})',
        'calculator({"expression": "1+1"})',
        'calculator({"expression": "42+2"})',
    ]
    assert (read.ran, read.roles) == (2, 3)
    assert read.finish == ["tool_calls", "tool_calls", "stop"]
    assert (read.content, read.done) == ("It is 44.", 1)
    assert await said(ann, session_id) == [("user", "6*7+1+1?"), ("assistant", "It is 44.")]


async def test_words_before_a_tool_and_after_it_are_one_reply(ann: httpx2.AsyncClient, up: Upstream) -> None:
    session_id = await session_of(ann)
    call = {"index": 0, "id": "c1", "type": "function"}
    function = {"name": "calculator", "arguments": '{"expression": "6*7"}'}
    first = Answer(
        (
            sse(chunk("Let me see.")),
            sse(chunk(delta={"tool_calls": [{**call, "function": function}]})),
            sse(chunk(finish="tool_calls"), "[DONE]"),
        )
    )
    up.then(first, says("42."))
    read = await talk(ann, body("6*7?", session_id=session_id))
    assert read.content == "Let me see.\n\n42."
    assert await said(ann, session_id) == [("user", "6*7?"), ("assistant", "Let me see.\n\n42.")]


# what goes wrong


def is_apology(read: Reader, words: str) -> None:
    assert words in read.content
    assert (read.finish, read.done, read.roles) == (["stop"], 1, 1)


async def test_who_has_no_token_is_told_in_the_chat(nobody: httpx2.AsyncClient) -> None:
    is_apology(await talk(nobody, body("你好")), "请先登录")
    is_apology(await talk(nobody, body("hello")), "log in")
    bad = await nobody.post(PATH, json=body("你好"), headers={"authorization": "Bearer x"})
    assert bad.status_code == 200
    is_apology(Reader(bad.text), "重新登录")


async def test_an_address_that_asks_too_often_is_told_in_the_chat(tmp_path: Path, sqlite_url: str) -> None:
    async with served(tmp_path, sqlite_url, limits={"per_address": 1}) as house, house.http() as client:
        await client.get("/v1/models")
        is_apology(await talk(client, body("你好")), "太频繁")
        told = await client.get("/v1/sessions")
    assert (told.status_code, told.json()["detail"]) == (429, told.json()["message"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"personality_id": "nobody"}, "no such personality", id="unknown personality"),
        pytest.param({"session_id": str(uuid4())}, "conversation", id="unknown session"),
        pytest.param({"session_id": "x"}, "session", id="no session"),
        pytest.param({"messages": []}, "messages", id="no messages"),
        pytest.param({"messages": "hi"}, "messages", id="messages of another type"),
        pytest.param({"messages": [5, None]}, "messages", id="messages that are none"),
        pytest.param({"temperature": 9}, "temperature", id="a value out of range"),
        pytest.param({"use_memory": "yes"}, "use_memory", id="a value of another type"),
        pytest.param({"model": "openai/o9"}, "no such personality", id="a model that is not offered"),
    ],
)
async def test_a_request_that_cannot_be_answered_is_told_in_the_chat(
    ann: httpx2.AsyncClient, change: dict[str, Any], words: str
) -> None:
    sent = body("hello", **change)
    read = await talk(ann, sent)
    is_apology(read, words)
    whole = await ann.post(PATH, json={**sent, "stream": False})
    assert whole.status_code in (404, 422)
    assert whole.json()["detail"] == whole.json()["message"] == whole.json()["error"]["message"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(plain({"error": {"message": "key sk-1"}}, 401), "管理员", id="refuses"),
        pytest.param(plain({"error": {"message": "slow down"}}, 429), "太忙", id="is busy"),
        pytest.param(plain({"error": {"message": "oops"}}, 500), "暂时不可用", id="fails"),
    ],
)
async def test_a_model_that_fails_is_told_in_the_chat(
    ann: httpx2.AsyncClient, up: Upstream, answer: Answer, words: str
) -> None:
    session_id = await session_of(ann)
    up.then(answer)
    read = await talk(ann, body("你好", session_id=session_id))
    is_apology(read, words)
    assert "sk-1" not in read.content
    assert await said(ann, session_id) == [("user", "你好")]


async def test_a_model_that_breaks_off_is_told_behind_its_words(
    ann: httpx2.AsyncClient, up: Upstream
) -> None:
    session_id = await session_of(ann)
    up.then(Answer((sse(chunk("从前有")), Cut())))
    read = await talk(ann, body("讲个故事", session_id=session_id))
    assert read.content.startswith("从前有\n\n")
    is_apology(read, "暂时不可用")
    assert (await said(ann, session_id))[0] == ("user", "讲个故事")


async def test_other_clients_keep_true_statuses(house: Served, nobody: httpx2.AsyncClient) -> None:
    sent = {"model": "mia", "messages": [{"role": "user", "content": "你好"}], "stream": True}
    response = await nobody.post(PATH, json=sent)
    assert response.status_code == 401
    assert "detail" not in response.json()


async def test_a_session_of_another_user_is_as_one_that_does_not_exist(
    ann: httpx2.AsyncClient, ben: httpx2.AsyncClient, up: Upstream
) -> None:
    session_id = await session_of(ann)
    theirs = await talk(ben, body("hi", session_id=session_id))
    unknown = await talk(ben, body("hi", session_id=str(uuid4())))
    assert theirs.content == unknown.content
    assert await said(ann, session_id) == []
    assert up.requests == []


async def test_too_many_requests_are_told_in_the_chat(tmp_path: Path, sqlite_url: str) -> None:
    async with (
        served(tmp_path, sqlite_url, limits={"per_user": 2}) as house,
        house.http(await house.key("ann")) as client,
    ):
        for _ in range(2):
            await client.get("/v1/models")
        is_apology(await talk(client, body("你好", personality_id="default")), "太频繁")


async def test_a_reader_who_leaves_in_the_middle_finds_the_question_again(
    house: Served, ann: httpx2.AsyncClient, up: Upstream
) -> None:
    session_id = await session_of(ann)
    up.then(Answer((sse(chunk("从前有")), Hold())))
    async with ann.stream("POST", PATH, json=body("讲个故事", session_id=session_id)) as response:
        async for line in response.aiter_lines():
            if "从前有" in line:
                break
    await up.left()
    with anyio.fail_after(30):
        while not await said(ann, session_id):
            await anyio.sleep(0.02)
    assert (await said(ann, session_id))[0] == ("user", "讲个故事")


# reading the request


@pytest.mark.parametrize(
    ("sent", "spoken"),
    [
        ({"personality_id": "x"}, True),
        ({"session_id": None}, True),
        ({"use_memory": False}, True),
        ({"memory_options": {}}, True),
        ({"model": "x", "cozy": {"personality_id": "x"}}, False),
        ({"engine_type": "openai"}, False),
        ({}, False),
    ],
    ids=str,
)
def test_the_client_is_known_by_what_it_sends(sent: dict[str, Any], spoken: bool) -> None:
    assert DIALECT.speaks(sent, Headers()) is spoken


def asked(**fields: Any) -> Any:
    return DIALECT.ask(json.dumps({"messages": [{"role": "user", "content": "hi"}], **fields}).encode())


@pytest.mark.parametrize(
    ("fields", "personalized"),
    [
        ({"use_memory": True}, True),
        ({"use_memory": None}, True),
        ({"use_memory": False}, False),
        ({"memory_options": {"include_user_memory": False, "memory_limit": 3}}, False),
        ({"memory_options": {"include_ai_memory": False}}, True),
    ],
    ids=str,
)
def test_memory_can_be_left_out(fields: dict[str, Any], personalized: bool) -> None:
    assert asked(**fields).personalized is personalized


@pytest.mark.parametrize(
    ("fields", "model"),
    [
        ({"model": "mia"}, "mia"),
        ({"model": "gpt-4", "personality_id": "mia"}, None),
        ({"model": "gpt-4", "session_id": "4f9d3c52-8a0e-4f5e-9a57-0d1c6f8f2b11"}, None),
        ({"model": "house/fake", "personality_id": "mia"}, "house/fake"),
        ({"model": "", "personality_id": ""}, None),
    ],
    ids=str,
)
def test_a_model_counts_where_it_can(fields: dict[str, Any], model: str | None) -> None:
    assert asked(**fields).model == model


def test_pictures_and_the_clients_own_tools_are_taken() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    content = [{"type": "text", "text": "what is it?"}, picture]
    tool = {"type": "function", "function": {"name": "look"}}
    ask = DIALECT.ask(
        json.dumps({"messages": [{"role": "user", "content": content}], "tools": [tool]}).encode()
    )
    assert (ask.messages[0].content, len(ask.messages[0].parts)) == ("what is it?", 1)
    assert [one.name for one in ask.tools] == ["look"]


@pytest.mark.parametrize("sent", [b"", b"[]", b"{}", b'{"messages": null}', b'{"messages": [{}]}'])
def test_what_cannot_be_read_is_refused(sent: bytes) -> None:
    with pytest.raises(InvalidRequest):
        DIALECT.ask(sent)
