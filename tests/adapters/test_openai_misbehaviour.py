"""Servers that misbehave: each answer is either understood or one EngineError, never a bug or a hang."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from cozy.adapters.model_servers import OpenAIServer
from cozy.adapters.openai_clients import openai_clients
from cozy.adapters.openai_llm import OpenAILLM
from cozy.errors import EngineError, EngineInvalidRequest, EngineTimeout, EngineUnavailable
from cozy.ports.llm import Chunk, FinishChunk, LLMRequest, ReasoningChunk, TextChunk, ToolCallChunk
from cozy.turn import Message
from cozy.usage import Usage
from tests.upstream import (
    JSON,
    SSE,
    Answer,
    Cut,
    Hold,
    Upstream,
    chunk,
    plain,
    says,
    sse,
    streams,
    upstream,
    usage_chunk,
)

REQUEST = LLMRequest("openai/fake", (Message("user", "你好"),))
DEEP = "[" * 100_000


@pytest.fixture
async def server() -> AsyncIterator[Upstream]:
    async with upstream() as server:
        yield server


@pytest.fixture
async def llm(server: Upstream) -> AsyncIterator[OpenAILLM]:
    headers = {"X-Team-Token": "team-secret"}
    async with openai_clients() as clients:
        yield OpenAILLM(OpenAIServer("openai", server.base_url, "sk-very-secret", headers=headers), clients)


async def answer(llm: OpenAILLM) -> tuple[list[Chunk], EngineError | None]:
    """What came, and the error it ended in."""
    got: list[Chunk] = []
    with anyio.fail_after(30):
        try:
            async with llm.stream(REQUEST) as chunks:
                got.extend([chunk async for chunk in chunks])
        except EngineError as error:
            return got, error
    return got, None


def words(chunks: list[Chunk]) -> str:
    return "".join(c.text for c in chunks if isinstance(c, TextChunk))


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": None}]}


def call(index: Any, **function: str) -> dict[str, Any]:
    return delta(tool_calls=[{"index": index, "function": function}])


NULLS = streams(
    {"id": None, "choices": None, "usage": None, "model": None},
    {"choices": [None]},
    {"choices": [{"index": None, "delta": None, "finish_reason": None}]},
    delta(content=None, tool_calls=None, reasoning_content=None, refusal=None, function_call=None),
    delta(tool_calls=[None, {"index": None, "id": None, "function": None}]),
    "null",
    chunk("好"),
    {"choices": [], "usage": {"prompt_tokens": None, "prompt_tokens_details": None}},
)
WRONG_KINDS = streams(
    delta(content=True, reasoning=5, refusal={"a": 1}, tool_calls={"x": 1}),
    [1, 2],
    "3",
    {"choices": {"0": "好"}},
    {"choices": [{"index": 0, "delta": "好", "finish_reason": 7}]},
    chunk("好", model=["m"], id={}),
)
STRINGS = Answer(
    (
        sse({"choices": [{"index": "0", "delta": {"content": "好"}, "finish_reason": None}]}),
        sse({"choices": [{"index": "0", "delta": {}, "finish_reason": "stop"}]}),
        sse({"choices": [], "usage": {"prompt_tokens": "9", "completion_tokens": "4"}}, "[DONE]"),
    )
)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(NULLS, id="nulls everywhere"),
        pytest.param(WRONG_KINDS, id="wrong kinds everywhere"),
        pytest.param(STRINGS, id="numbers as strings"),
        pytest.param(streams(chunk("好"), chunk(finish="stop"), chunk(finish="stop")), id="it ends twice"),
        pytest.param(
            Answer((sse(chunk("好")), sse(chunk(finish="stop")), b"data:  [DONE] \n\n")),
            id="spaces at the end",
        ),
        pytest.param(Answer((b"event: ping\n\n", *says("好").steps)), id="events without data"),
        pytest.param(Answer(says("好").steps, 200, {"content-type": "text/html"}), id="said to be a page"),
        pytest.param(
            Answer(
                (gzip.compress(b"".join(s for s in says("好").steps if isinstance(s, bytes))),),
                200,
                {**SSE, "content-encoding": "gzip"},
            ),
            id="gzip",
        ),
    ],
)
async def test_what_can_be_understood_is(llm: OpenAILLM, server: Upstream, script: Answer) -> None:
    server.then(script)
    got, error = await answer(llm)
    assert error is None
    assert words(got) == "好"
    assert isinstance(got[-1], FinishChunk)
    assert got[-1].reason == "stop"


async def test_words_after_the_end_still_count(llm: OpenAILLM, server: Upstream) -> None:
    server.then(streams(chunk("你", finish="stop"), chunk("好"), finish=None))
    got, error = await answer(llm)
    assert (words(got), error) == ("你好", None)


async def test_numbers_may_be_strings(llm: OpenAILLM, server: Upstream) -> None:
    server.then(STRINGS)
    got, _ = await answer(llm)
    assert isinstance(got[-1], FinishChunk)
    assert got[-1].usage == Usage(9, 4)


async def test_calls_numbered_with_strings_are_told_apart(llm: OpenAILLM, server: Upstream) -> None:
    pieces = (
        call("0", name="f", arguments='{"a"'),
        call("1", name="g", arguments='{"b"'),
        call("0", arguments=":1}"),
        call("1", arguments=":2}"),
    )
    server.then(streams(*pieces, finish="tool_calls"))
    got, _ = await answer(llm)
    arguments = {0: "", 1: ""}
    for piece in got:
        if isinstance(piece, ToolCallChunk):
            arguments[piece.index] += piece.arguments
    assert arguments == {0: '{"a":1}', 1: '{"b":2}'}


@pytest.mark.parametrize("count", ["Infinity", "-Infinity", "NaN", "1e400", "9" * 400, "-5", "[]", '"many"'])
async def test_a_cost_that_cannot_be_is_none(llm: OpenAILLM, server: Upstream, count: str) -> None:
    usage = f'{{"choices":[],"usage":{{"prompt_tokens":{count},"completion_tokens":4}}}}'
    server.then(Answer((sse(chunk("好", finish="stop"), usage, "[DONE]"),)))
    got, error = await answer(llm)
    assert error is None
    assert isinstance(got[-1], FinishChunk)
    assert got[-1].usage == Usage(0, 4)


async def test_a_character_cut_in_two_by_the_server_is_put_together(llm: OpenAILLM, server: Upstream) -> None:
    halves = [
        delta(content="喝茶\ud83c"),
        delta(content="\udf75，好\ud83d"),
        delta(reasoning_content="\ud83d"),
        delta(reasoning_content="\ude00"),
        delta(content="吗\ude00？\ud83d"),
    ]
    server.then(Answer(tuple(sse(json.dumps(half)) for half in (*halves, chunk(finish="stop"), "[DONE]"))))
    got, error = await answer(llm)
    assert error is None
    assert words(got) == "喝茶🍵，好�吗�？�"
    assert "".join(c.text for c in got if isinstance(c, ReasoningChunk)) == "😀"


async def test_a_gigantic_piece_is_taken_in_and_one_beyond_all_bounds_refused(
    llm: OpenAILLM, server: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.then(says("茶" * 1_000_000))
    got, error = await answer(llm)
    assert (len(words(got)), error) == (1_000_000, None)
    monkeypatch.setattr("cozy.adapters.sse.MAX_EVENT_CHARS", 100_000)
    server.then(says("茶" * 1_000_000))
    got, error = await answer(llm)
    assert got == []
    assert type(error) is EngineUnavailable
    assert "more than 100000 characters" in error.message


async def test_thoughts_without_end_stop_when_nobody_listens(llm: OpenAILLM, server: Upstream) -> None:
    server.then(Answer((*(sse(delta(reasoning_content="嗯")) for _ in range(500)), Hold())))
    heard = 0
    async with llm.stream(REQUEST) as chunks:
        async for _ in chunks:
            heard += 1
            if heard == 500:
                break
    await server.left()


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(Answer((sse(DEEP),)), id="an event"),
        pytest.param(plain(DEEP), id="a body"),
        pytest.param(Answer((DEEP.encode(),), 500, JSON), id="an error"),
        pytest.param(
            streams(
                call(0, name="f", arguments=DEEP), call(0, name="f", arguments=DEEP), finish="tool_calls"
            ),
            id="arguments",
        ),
        pytest.param(plain('{"error":' * 900 + "1" + "}" * 900, 500), id="errors within errors"),
        pytest.param(
            plain('{"error":{"message":' + '{"a":[' * 400 + "1" + "]}" * 400 + "}}", 500),
            id="messages within",
        ),
        pytest.param(
            plain('{"error":{"code":' + "[" * 900 + "]" * 900 + ',"message":"no"}}', 500), id="a code within"
        ),
    ],
)
async def test_json_may_be_nested_without_end(llm: OpenAILLM, server: Upstream, script: Answer) -> None:
    server.then(script)
    got, error = await answer(llm)
    if error is None:  # the tool's own check will refuse such arguments
        assert isinstance(got[-1], FinishChunk)
    else:
        assert type(error) is EngineUnavailable
        assert len(error.message) < 1000


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"error": {"message": {"a": [{"b": 5}]}, "code": {"x": 1}, "type": ["y"]}}, 400, "(400): 5"),
        ({"error": None}, 400, "(400)"),
        ({"error": [[]]}, 400, "(400)"),
        ([], 400, "(400)"),
        ({"detail": [{"msg": 5, "loc": 5}]}, 422, "(422): 5: 5"),
        ({"detail": [{"msg": "bad", "loc": "body"}]}, 422, "(422): body: bad"),
        ({"message": 7}, 400, "(400): 7"),
    ],
)
async def test_errors_of_odd_shapes_are_told(
    llm: OpenAILLM, server: Upstream, body: Any, status: int, said: str
) -> None:
    server.then(plain(body, status))
    _, error = await answer(llm)
    assert type(error) is EngineInvalidRequest
    assert error.message.endswith(said)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_word_and_no_secret_follows_a_redirect(
    llm: OpenAILLM, server: Upstream, status: int
) -> None:
    async with upstream(default=says("好")) as elsewhere:
        place = f"{elsewhere.base_url}/chat/completions?token=team-secret"
        server.then(Answer((b"moved",), status, {"location": place}))
        got, error = await answer(llm)
        assert elsewhere.requests == []
    assert got == []
    assert type(error) is EngineInvalidRequest
    assert f"sends requests on to {elsewhere.base_url}/chat/completions" in error.message
    assert "base_url" in (error.hint or "")
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    "place", ["", "/", "//", "http://[::bad", "javascript:alert(1)", "\x01", "http://" + "a" * 5000]
)
async def test_a_redirect_to_nowhere_is_told(llm: OpenAILLM, server: Upstream, place: str) -> None:
    server.then(Answer((), 307, {"location": place}))
    _, error = await answer(llm)
    assert isinstance(error, EngineError)
    assert len(error.message) < 1000


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param((b"HTTP/1.1 200 OK\r\nx-a: " + b"a" * 100_000 + b"\r\n\r\n",), id="a giant header"),
        pytest.param((b"HTTP/1.1 200 OK\r\n" + b"x-a: 1\r\n" * 20_000 + b"\r\n",), id="headers without end"),
        pytest.param((b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nabc",), id="a negative length"),
        pytest.param((b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nabc",), id="a bad chunk"),
        pytest.param((b"HTTP/1.1 0 Odd\r\ncontent-length: 0\r\n\r\n",), id="a status of 0"),
        pytest.param(
            (b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 9\r\n\r\nno gzip!!",),
            id="gzip that is none",
        ),
    ],
)
async def test_what_is_no_http_is_told(llm: OpenAILLM, server: Upstream, steps: tuple[bytes, ...]) -> None:
    server.then(Answer((*steps, Cut()), raw=True))
    got, error = await answer(llm)
    assert got == []
    assert type(error) is EngineUnavailable
    assert len(error.message) < 1000


async def test_a_head_that_never_ends_times_out(server: Upstream) -> None:
    async with openai_clients() as clients:
        llm = OpenAILLM(OpenAIServer("openai", server.base_url, "sk-1", read_timeout_s=0.1), clients)
        drops = (b"HTTP/1.1 200 OK\r\nx-slow: ", *(b"a" for _ in range(20)), Hold())
        server.then(Answer(drops, raw=True))
        got, error = await answer(llm)
    assert got == []
    assert type(error) is EngineTimeout
    await server.left()


async def test_a_whole_answer_that_loses_its_connection_is_whole(llm: OpenAILLM, server: Upstream) -> None:
    data = sse(chunk("好", finish="stop"), usage_chunk())
    server.then(Answer((b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n" + data, Cut()), raw=True))
    got, error = await answer(llm)
    assert (words(got), error) == ("好", None)
    assert isinstance(got[-1], FinishChunk)
    assert got[-1].usage == Usage(9, 4)
