"""OpenAI's own Python client, talking to a real server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import anyio
import anyio.to_thread
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from cozy.turn import SessionId, UserId
from tests.interfaces.http.serving import Served, served
from tests.upstream import (
    Answer,
    Cut,
    Hold,
    Received,
    Upstream,
    calls,
    chunk,
    plain,
    says,
    sse,
    streams,
)

ASKED: list[Any] = [{"role": "user", "content": "tea?"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a town",
        "parameters": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
    },
}


@pytest.fixture
async def client(house: Served, ada: str) -> AsyncIterator[AsyncOpenAI]:
    async with house.openai(ada) as client:
        yield client


# -- words ---------------------------------------------------------------------------------------------


async def test_a_plain_answer(client: AsyncOpenAI, up: Upstream) -> None:
    answer = await client.chat.completions.create(model="mia", messages=ASKED)
    (choice,) = answer.choices
    assert (choice.message.role, choice.message.content) == ("assistant", "Hi there")
    assert (choice.index, choice.finish_reason, choice.message.refusal) == (0, "stop", None)
    assert (answer.object, answer.model, answer.id[:9]) == ("chat.completion", "mia", "chatcmpl-")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (
        9,
        4,
        13,
    )
    facts = answer.to_dict()["cozy"]
    assert isinstance(facts, dict)
    assert facts["personality_id"] == "mia"
    assert (facts["session_id"], facts["degraded"], facts["degrade_reasons"]) == (None, False, [])
    assert facts["request_id"] == answer._request_id


async def test_the_clients_messages_are_the_history(client: AsyncOpenAI, up: Upstream) -> None:
    told: list[Any] = [
        {"role": "user", "content": "I am Ada"},
        {"role": "assistant", "content": "Hello Ada"},
        {"role": "user", "content": [{"type": "text", "text": "who am"}, {"type": "text", "text": "I?"}]},
    ]
    await client.chat.completions.create(model="plain", messages=told)
    sent = [(m["role"], m["content"]) for m in up.requests[0].body["messages"]]
    assert sent == [
        ("system", "You are plain."),
        ("user", "I am Ada"),
        ("assistant", "Hello Ada"),
        ("user", "who am\nI?"),
    ]


async def test_a_stream_has_one_role_one_end_and_one_name(client: AsyncOpenAI, up: Upstream) -> None:
    chunks = [c async for c in await client.chat.completions.create(model="mia", messages=ASKED, stream=True)]
    deltas = [c.choices[0].delta for c in chunks]
    assert [d.role for d in deltas] == ["assistant", *[None] * (len(deltas) - 1)]
    assert "".join(d.content or "" for d in deltas) == "Hi there"
    assert [c.choices[0].finish_reason for c in chunks] == [*[None] * (len(chunks) - 1), "stop"]
    assert len({(c.id, c.created, c.model, c.object) for c in chunks}) == 1
    assert all("usage" not in c.to_dict(exclude_unset=True) for c in chunks)


async def test_usage_is_streamed_as_specified(client: AsyncOpenAI, up: Upstream) -> None:
    stream = await client.chat.completions.create(
        model="mia", messages=ASKED, stream=True, stream_options={"include_usage": True}
    )
    *words, last = [c async for c in stream]
    assert all(c.to_dict(exclude_unset=True)["usage"] is None for c in words)
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.total_tokens == 13


async def test_the_sdks_own_accumulator_reads_the_stream(client: AsyncOpenAI, up: Upstream) -> None:
    async with client.chat.completions.stream(model="mia", messages=ASKED) as stream:
        kinds = [event.type async for event in stream]
        answer = await stream.get_final_completion()
    assert answer.choices[0].message.content == "Hi there"
    assert kinds.count("content.delta") >= 1
    assert kinds.count("content.done") == 1


async def test_several_answers_are_counted_and_told_apart(client: AsyncOpenAI, up: Upstream) -> None:
    up.then(says("one"), says("two"))
    answer = await client.chat.completions.create(model="plain", messages=ASKED, n=2)
    assert sorted(c.message.content or "" for c in answer.choices) == ["one", "two"]
    assert [c.index for c in answer.choices] == [0, 1]
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (9, 8)


async def test_several_answers_are_streamed_side_by_side(client: AsyncOpenAI, up: Upstream) -> None:
    up.then(says("one"), says("two"))
    stream = await client.chat.completions.create(
        model="plain", messages=ASKED, n=2, stream=True, stream_options={"include_usage": True}
    )
    said, ends, roles, usages = {0: "", 1: ""}, list[int](), list[int](), 0
    async for c in stream:
        usages += c.usage is not None
        for choice in c.choices:
            said[choice.index] += choice.delta.content or ""
            ends += [choice.index] if choice.finish_reason else []
            roles += [choice.index] if choice.delta.role else []
    assert sorted(said.values()) == ["one", "two"]
    assert (sorted(ends), sorted(roles), usages) == ([0, 1], [0, 1], 1)


async def test_the_raw_response_carries_the_requests_id(client: AsyncOpenAI, up: Upstream) -> None:
    raw = await client.chat.completions.with_raw_response.create(model="mia", messages=ASKED)
    assert raw.request_id
    assert raw.headers["x-request-id"] == raw.request_id
    answer = raw.parse()
    assert answer.choices[0].message.content == "Hi there"
    facts = cast("dict[str, Any]", answer.to_dict()["cozy"])
    timing = dict(part.split(";dur=") for part in raw.headers["server-timing"].split(", "))
    assert {"admission", "first_word", "queue", "engine", "answer.first_token", "total"} <= timing.keys()
    assert float(timing["total"]) == pytest.approx(facts["total_ms"], abs=0.06)


async def test_where_the_time_went_adds_up(client: AsyncOpenAI, up: Upstream) -> None:
    up.then(calls(("calculator", '{"expression": "6*7"}')), says("42."))
    answer = await client.chat.completions.create(model="mia", messages=ASKED)
    facts = cast("dict[str, Any]", answer.to_dict()["cozy"])
    spent = facts["spent_ms"]
    assert sum(spent.values()) == pytest.approx(facts["total_ms"], abs=0.01 * len(spent))
    assert {"queue", "engine", "answer/first_token", "answer/upstream", "tools/tools", "save"} <= spent.keys()


async def test_a_clients_own_id_is_taken_where_it_is_one(client: AsyncOpenAI, up: Upstream) -> None:
    for sent, taken in (("mine-1", True), ("not an id", False), ("x" * 65, False)):
        raw = await client.chat.completions.with_raw_response.create(
            model="plain", messages=ASKED, extra_headers={"x-request-id": sent}
        )
        assert (raw.request_id == sent) is taken


class Verdict(BaseModel):
    good: bool
    why: str


async def test_structured_output_is_parsed(client: AsyncOpenAI, up: Upstream) -> None:
    up.then(says('{"good": true,', ' "why": "tea"}'))
    answer = await client.chat.completions.parse(model="mia", messages=ASKED, response_format=Verdict)
    assert answer.choices[0].message.parsed == Verdict(good=True, why="tea")
    assert up.requests[0].body["response_format"]["json_schema"]["name"] == "Verdict"


async def test_the_synchronous_client_does_as_well(house: Served, ada: str, up: Upstream) -> None:
    def talk() -> tuple[str | None, str]:
        with OpenAI(base_url=f"{house.url}/v1", api_key=ada, max_retries=0, timeout=60) as client:
            whole = client.chat.completions.create(model="mia", messages=ASKED)
            with client.chat.completions.create(model="mia", messages=ASKED, stream=True) as stream:
                words = "".join(c.choices[0].delta.content or "" for c in stream)
            with pytest.raises(openai.NotFoundError):
                client.models.retrieve("nobody")
        return whole.choices[0].message.content, words

    # in a thread: the server runs in this one
    assert await anyio.to_thread.run_sync(talk) == ("Hi there", "Hi there")


# -- tools of the client -------------------------------------------------------------------------------


async def test_a_round_of_the_clients_tool(client: AsyncOpenAI, up: Upstream) -> None:
    up.then(calls(("weather", '{"town": "Oslo"}')), says("Rain."))
    asked = await client.chat.completions.create(model="mia", messages=ASKED, tools=[WEATHER])
    (choice,) = asked.choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    (call,) = choice.message.tool_calls or ()
    assert call.type == "function"
    assert (call.id, call.function.name) == ("call_1", "weather")
    assert json.loads(call.function.arguments) == {"town": "Oslo"}
    told: list[Any] = [*ASKED, choice.message, {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
    answer = await client.chat.completions.create(model="mia", tools=[WEATHER], messages=told)
    assert answer.choices[0].message.content == "Rain."
    sent = up.requests[1].body["messages"]
    assert [m["role"] for m in sent[-3:]] == ["user", "assistant", "tool"]
    assert (sent[-1]["tool_call_id"], sent[-1]["content"]) == ("call_1", "rain")


async def test_parallel_calls_are_streamed_and_joined(client: AsyncOpenAI, up: Upstream) -> None:
    def piece(index: int, arguments: str, **head: Any) -> dict[str, Any]:
        name = {"name": "weather"} if head else {}
        return chunk(
            delta={"tool_calls": [{"index": index, **head, "function": {**name, "arguments": arguments}}]}
        )

    up.then(
        streams(
            piece(0, "", id="call_a", type="function"),
            piece(0, '{"town": '),
            piece(0, '"Oslo"}'),
            piece(1, "", id="call_b", type="function"),
            piece(1, '{"town": "Bergen"}'),
            finish="tool_calls",
        )
    )
    async with client.chat.completions.stream(model="mia", messages=ASKED, tools=[WEATHER]) as stream:
        chunks = [e.chunk async for e in stream if e.type == "chunk"]
        answer = await stream.get_final_completion()
    told = answer.choices[0].message.tool_calls or []
    assert [(c.id, json.loads(c.function.arguments)["town"]) for c in told] == [
        ("call_a", "Oslo"),
        ("call_b", "Bergen"),
    ]
    pieces = [t for c in chunks for choice in c.choices for t in choice.delta.tool_calls or ()]
    assert [t.index for t in pieces if t.id] == [0, 1]
    assert all(t.function is not None for t in pieces)
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == ["tool_calls"]


async def test_the_choice_of_a_tool_is_passed_on(client: AsyncOpenAI, up: Upstream) -> None:
    up.then(calls(("weather", "{}")))
    await client.chat.completions.create(
        model="plain",
        messages=ASKED,
        tools=[WEATHER],
        tool_choice={"type": "function", "function": {"name": "weather"}},
        parallel_tool_calls=False,
    )
    sent = up.requests[0].body
    assert sent["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert sent["parallel_tool_calls"] is False


async def test_deprecated_functions_are_answered_in_kind(client: AsyncOpenAI, up: Upstream) -> None:
    up.then(calls(("weather", '{"town": "Oslo"}')), says("Rain."))
    asked = await client.chat.completions.create(
        model="plain", messages=ASKED, functions=[WEATHER["function"]], function_call="auto"
    )
    (choice,) = asked.choices
    assert choice.finish_reason == "function_call"
    assert choice.message.function_call is not None
    assert choice.message.function_call.name == "weather"
    assert choice.message.tool_calls is None
    told: list[Any] = [
        *ASKED,
        {
            "role": "assistant",
            "content": None,
            "function_call": {"name": "weather", "arguments": '{"town": "Oslo"}'},
        },
        {"role": "function", "name": "weather", "content": "rain"},
    ]
    answer = await client.chat.completions.create(
        model="plain", messages=told, functions=[WEATHER["function"]]
    )
    assert answer.choices[0].message.content == "Rain."
    call, result = up.requests[1].body["messages"][-2:]
    assert call["tool_calls"][0]["id"] == result["tool_call_id"]


# -- models --------------------------------------------------------------------------------------------


async def test_models_are_personalities_and_allowed_models(client: AsyncOpenAI) -> None:
    ids = [model.id async for model in client.models.list()]
    assert {"mia", "plain", "house/fake"} <= set(ids)
    assert (await client.models.retrieve("mia")).owned_by == "cozy"
    assert (await client.models.retrieve("house/fake")).owned_by == "house"
    with pytest.raises(openai.NotFoundError) as caught:
        await client.models.retrieve("nobody")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


async def test_a_providers_model_answers_where_the_configuration_offers_it(
    client: AsyncOpenAI, up: Upstream
) -> None:
    await client.chat.completions.create(
        model="house/fake", messages=ASKED, extra_body={"cozy": {"personality_id": "plain"}}
    )
    assert up.requests[0].body["model"] == "fake"


@pytest.mark.parametrize("model", ["elsewhere/model", "house/", "/", "house"])
async def test_a_model_that_nobody_has_is_not_found(client: AsyncOpenAI, model: str) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await client.chat.completions.create(model=model, messages=ASKED)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


async def test_a_provider_that_is_not_there_has_no_models(
    tmp_path: Path, sqlite_url: str, module_upstream: Upstream
) -> None:
    async with (
        served(tmp_path, sqlite_url, upstream=module_upstream, server={"models": ["*"]}) as house,
        house.openai(await house.key("ada")) as client,
    ):
        with pytest.raises(openai.NotFoundError) as caught:
            await client.chat.completions.create(model="elsewhere/model", messages=ASKED)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


async def test_the_personality_wins_over_the_model(client: AsyncOpenAI, up: Upstream) -> None:
    answer = await client.chat.completions.create(
        model="mia", messages=ASKED, extra_body={"cozy": {"personality_id": "plain"}}
    )
    assert cast("dict[str, Any]", answer.to_dict()["cozy"])["personality_id"] == "plain"


# -- system messages -----------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["system", "developer"])
async def test_a_clients_system_message_stands_beneath_the_personality(
    client: AsyncOpenAI, up: Upstream, role: str
) -> None:
    told: list[Any] = [{"role": role, "content": "Rhyme."}, *ASKED]
    await client.chat.completions.create(model="plain", messages=told)
    system = up.requests[0].body["messages"][0]["content"]
    assert system.startswith("You are plain.")
    assert "Rhyme." in system
    await client.chat.completions.create(model="deaf", messages=told)
    assert "Rhyme." not in json.dumps(up.requests[1].body)
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(model="strict", messages=told)


# -- errors --------------------------------------------------------------------------------------------


async def test_errors_are_of_the_class_that_the_sdk_has_for_them(
    house: Served, client: AsyncOpenAI, up: Upstream
) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        await client.chat.completions.create(model="nobody", messages=ASKED)
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    assert unknown.value.request_id
    with pytest.raises(openai.BadRequestError) as bad:
        await client.chat.completions.create(model="mia", messages=ASKED, temperature=9)
    assert (bad.value.code, bad.value.param) == ("VALIDATION_FAILED", "temperature")
    assert bad.value.type == "invalid_request_error"
    async with house.openai("sk-nobody") as stranger:
        with pytest.raises(openai.AuthenticationError) as who:
            await stranger.models.list()
    assert who.value.code == "AUTH_INVALID_TOKEN"
    assert up.requests == []


UPSTREAM_FAILURES = [
    pytest.param(plain({"error": {"message": "busy"}}, 429, retry_after="7"), 429, "7", id="rate limited"),
    pytest.param(plain({"error": {"message": "boom"}}, 500), 502, None, id="broken"),
    pytest.param(plain({"error": {"message": "no"}}, 401), 502, None, id="our key is refused"),
    pytest.param(plain({"error": {"message": "bad"}}, 400), 400, None, id="refuses the request"),
    pytest.param(Answer((Cut(),)), 502, None, id="gone before the first word"),
]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize(("failure", "status", "retry_after"), UPSTREAM_FAILURES)
async def test_a_model_that_fails_before_its_first_word_is_a_true_status(
    client: AsyncOpenAI, up: Upstream, failure: Answer, status: int, retry_after: str | None, stream: bool
) -> None:
    up.then(*[failure] * 8)
    with pytest.raises(openai.APIStatusError) as caught:
        await client.chat.completions.create(model="plain", messages=ASKED, stream=stream)
    assert caught.value.status_code == status
    assert (caught.value.code or "").startswith("ENGINE_")
    assert caught.value.response.headers.get("retry-after") == retry_after


async def test_an_error_in_mid_stream_is_raised_by_the_sdk(client: AsyncOpenAI, up: Upstream) -> None:
    up.then(Answer((sse(chunk("Hi")), Cut())))
    stream = await client.chat.completions.create(model="plain", messages=ASKED, stream=True)
    heard: list[str] = []

    async def listen() -> None:
        async for c in stream:
            heard.append(c.choices[0].delta.content or "")

    with pytest.raises(openai.APIError) as caught:
        await listen()
    assert "".join(heard) == "Hi"
    assert caught.value.code == "ENGINE_UNAVAILABLE"


# -- retries -------------------------------------------------------------------------------------------


async def stored(house: Served, session_id: str) -> list[tuple[str, str]]:
    """Who said what in a session of Ada's."""
    user = await house.user("ada")
    rows = await house.service.engine.ports.store.messages(
        UserId(user.id), SessionId(UUID(session_id)), limit=100
    )
    return [(row.message.role, row.message.content) for row in rows]


async def new_session(client: AsyncOpenAI) -> str:
    answer = await client.chat.completions.create(
        model="plain", messages=ASKED, extra_body={"cozy": {"session_id": "new"}}
    )
    return cast("str", cast("dict[str, Any]", answer.to_dict()["cozy"])["session_id"])


NOTHING_NEW: dict[str, list[Any]] = {
    "the last is an assistant's": [*ASKED, {"role": "assistant", "content": "Here."}],
    "system messages alone": [{"role": "developer", "content": "Rhyme."}],
}


@pytest.mark.parametrize("messages", NOTHING_NEW.values(), ids=NOTHING_NEW.keys())
async def test_a_session_is_told_something_new_or_the_request_is_refused(
    client: AsyncOpenAI, messages: list[Any]
) -> None:
    session = await new_session(client)
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(
            model="plain", messages=messages, extra_body={"cozy": {"session_id": session}}
        )
    assert caught.value.param == "messages"


FAILS_ONCE = {
    "429": plain({"error": {"message": "busy"}}, 429),
    "503": plain({"error": {"message": "away"}}, 503),
    "500": plain({"error": {"message": "boom"}}, 500),
    "late": Answer((sse(chunk("Too ")), Hold())),
}


async def test_what_the_sdk_retries_by_itself_is_stored_once(
    house: Served, ada: str, up: Upstream, client: AsyncOpenAI
) -> None:
    """Side by side: between two tries the SDK waits for half a second."""
    asked: dict[str, int] = {}

    def script(request: Received) -> Answer:
        case = request.body["messages"][-1]["content"]
        asked[case] = asked.get(case, 0) + 1
        return FAILS_ONCE[case] if asked[case] == 1 else says("Done.")

    sessions = {case: await new_session(client) for case in FAILS_ONCE}
    up.then(*[script] * 20)

    async def ask(case: str) -> None:
        patience_s = 3.0 if case == "late" else 60.0
        async with house.openai(ada, max_retries=2, timeout=patience_s) as retrying:
            answer = await retrying.chat.completions.create(
                model="plain",
                messages=[{"role": "user", "content": case}],
                extra_body={"cozy": {"session_id": sessions[case]}},
            )
        assert answer.choices[0].message.content == "Done."

    async with anyio.create_task_group() as tasks:
        for case in FAILS_ONCE:
            tasks.start_soon(ask, case)
    assert all(count == 2 for count in asked.values()), asked
    for case, session in sessions.items():
        assert await stored(house, session) == [
            ("user", "tea?"),
            ("assistant", "Hi there"),
            ("user", case),
            ("assistant", "Done."),
        ]
