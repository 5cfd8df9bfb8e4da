"""The bytes of an answer → chunks."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozy.adapters.model_servers import OpenAIServer
from cozy.adapters.openai_answer import CompletionReader
from cozy.adapters.openai_request import WireRequest
from cozy.errors import (
    EngineAuthError,
    EngineError,
    EngineInvalidRequest,
    EngineRateLimited,
    EngineTimeout,
    EngineUnavailable,
)
from cozy.ports.llm import Chunk, FinishChunk, ReasoningChunk, TextChunk, ToolCallChunk
from cozy.usage import Usage
from tests.upstream import chunk, sse, usage_chunk

SERVER = OpenAIServer("fake", "http://127.0.0.1:9/v1", "sk-very-secret")
REQUEST = WireRequest("m", {}, {"mcp_weather_forecast": "mcp/weather/forecast"})


def read(*pieces: bytes, request: WireRequest = REQUEST) -> tuple[list[Chunk], EngineError | None]:
    """What came, and the error it ended in."""
    reader = CompletionReader(SERVER, request)
    got: list[Chunk] = []
    try:
        for piece in pieces:
            got.extend(reader.feed(piece))
        got.extend(reader.end({}))
    except EngineError as error:
        return got, error
    return got, None


def answer(*objects: Any, request: WireRequest = REQUEST) -> list[Chunk]:
    got, error = read(sse(*objects), request=request)
    assert error is None
    return got


def finish(*objects: Any) -> FinishChunk:
    last = answer(*objects)[-1]
    assert isinstance(last, FinishChunk)
    return last


def words(chunks: list[Chunk]) -> str:
    return "".join(c.text for c in chunks if isinstance(c, TextChunk))


def thoughts(chunks: list[Chunk]) -> str:
    return "".join(c.text for c in chunks if isinstance(c, ReasoningChunk))


def test_words_then_the_end_with_its_cost() -> None:
    got = answer(
        chunk(delta={"role": "assistant", "content": ""}, system_fingerprint="fp_1", service_tier="default"),
        chunk("你"),
        chunk("好"),
        chunk(finish="stop"),
        usage_chunk(12, 5, prompt_tokens_details={"cached_tokens": 8}),
        "[DONE]",
    )
    assert got[:-1] == [TextChunk("你"), TextChunk("好")]
    assert got[-1] == FinishChunk(
        "stop",
        Usage(12, 5, cached_tokens=8),
        "fake",
        {
            "system_fingerprint": "fp_1",
            "service_tier": "default",
            "id": "chatcmpl-1",
            "usage": {
                "prompt_tokens": 12,
                "completion_tokens": 5,
                "total_tokens": 17,
                "prompt_tokens_details": {"cached_tokens": 8},
            },
        },
    )


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 4}, Usage(9, 4)),
        ({"prompt_tokens": 9, "prompt_cache_hit_tokens": 7}, Usage(9, 0, cached_tokens=7)),
        ({"prompt_tokens": 9, "prompt_tokens_details": None}, Usage(9)),
        (
            {"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 6}},
            Usage(0, 9, reasoning_tokens=6),
        ),
        ({"prompt_tokens": None, "completion_tokens": "x"}, Usage()),
    ],
    ids=["plain", "DeepSeek's cache", "null details", "reasoning", "nonsense"],
)
def test_the_cost_is_read_under_every_name(usage: dict[str, Any], expected: Usage) -> None:
    assert finish(chunk("a"), chunk(finish="stop"), chunk(choices=[], usage=usage)).usage == expected


def test_the_cost_may_come_with_each_chunk_and_the_last_one_counts() -> None:
    last = finish(
        chunk("a", usage={"prompt_tokens": 3, "completion_tokens": 1}),
        chunk("b", usage={"prompt_tokens": 3, "completion_tokens": 2}),
        chunk(finish="stop", usage=None),
    )
    assert last.usage == Usage(3, 2)


def test_an_answer_without_its_cost_has_none() -> None:
    assert finish(chunk("a"), chunk(finish="stop"), "[DONE]").usage is None


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning_content": "想"},
        {"reasoning": "想"},
        {"reasoning_content": "想", "reasoning": "想"},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "想"}]}]},
        {"content": [{"type": "thinking", "thinking": "想"}]},
    ],
    ids=["DeepSeek", "Ollama and vLLM", "both", "Mistral", "a thinking part of text"],
)
def test_reasoning_is_kept_apart_from_the_words(delta: dict[str, Any]) -> None:
    got = answer(chunk(delta=delta), chunk("好"), chunk(finish="stop"))
    assert (thoughts(got), words(got)) == ("想", "好")


def test_a_refusal_is_words_too() -> None:
    assert words(answer(chunk(delta={"refusal": "I can't"}), chunk(finish="stop"))) == "I can't"


def test_calls_come_in_pieces_with_our_names() -> None:
    got = answer(
        chunk(
            delta={
                "tool_calls": [{"index": 0, "id": "c1", "function": {"name": "mcp_weather_forecast"}}],
                "content": None,
            }
        ),
        chunk(delta={"tool_calls": [{"index": 0, "function": {"arguments": '{"city":"京都"}'}}]}),
        chunk(finish="tool_calls"),
    )
    assert got[:-1] == [
        ToolCallChunk(0, "c1", "mcp/weather/forecast"),
        ToolCallChunk(0, arguments='{"city":"京都"}'),
    ]


def test_the_older_function_call_is_a_call() -> None:
    got = answer(
        chunk(delta={"function_call": {"name": "f", "arguments": "{"}}),
        chunk(delta={"function_call": {"arguments": "}"}}),
        chunk(finish="function_call"),
    )
    assert [(c.name, c.arguments) for c in got if isinstance(c, ToolCallChunk)] == [("f", "{"), ("", "}")]
    assert isinstance(got[-1], FinishChunk)
    assert got[-1].reason == "tool_calls"


CALL = {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]}


@pytest.mark.parametrize(
    ("delta", "said", "reason"),
    [
        ({"content": "a"}, "stop", "stop"),
        ({"content": "a"}, "length", "length"),
        ({"content": "a"}, "content_filter", "content_filter"),
        ({"content": "a"}, "eos", "stop"),
        ({"content": "a"}, "tool_calls", "stop"),
        ({"content": "a"}, "MAX_TOKENS", "length"),
        (CALL, "tool_calls", "tool_calls"),
        (CALL, "stop", "tool_calls"),
        (CALL, "length", "length"),
    ],
)
def test_why_it_ended_is_said_in_our_words(delta: dict[str, Any], said: str, reason: str) -> None:
    last = finish(chunk(delta=delta), chunk(finish=said))
    assert last.reason == reason
    assert last.extra.get("finish_reason") == ("eos" if said == "eos" else None)


@pytest.mark.parametrize("said", ["abort", "insufficient_system_resource", "error"])
@pytest.mark.parametrize("whole", [False, True], ids=["streamed", "whole"])
def test_an_end_that_is_a_failure_comes_after_its_words(said: str, *, whole: bool) -> None:
    message = {"choices": [{"message": {"content": "ab"}, "finish_reason": said}]}
    got, error = read(json.dumps(message).encode() if whole else sse(chunk("a"), chunk("b", finish=said)))
    assert words(got) == "ab"
    assert isinstance(error, EngineUnavailable)
    assert said in error.message


def test_fields_that_nobody_reads_are_kept() -> None:
    last = finish(
        chunk(choices=[], prompt_filter_results=[{"ok": True}]),
        chunk("a", obfuscation="xxxx"),
        chunk(delta={"annotations": [1]}),
        chunk(delta={"annotations": [2]}, finish="stop", x_groq={"id": "r"}),
    )
    assert last.extra["prompt_filter_results"] == [{"ok": True}]
    assert last.extra["annotations"] == [1, 2]
    assert last.extra["x_groq"] == {"id": "r"}
    assert "obfuscation" not in last.extra


def test_settings_that_were_not_sent_are_on_record() -> None:
    last = answer(chunk("a", finish="stop"), request=WireRequest("o3", {}, {}, ("temperature",)))[-1]
    assert isinstance(last, FinishChunk)
    assert last.extra["unsent"] == ("temperature",)


def test_only_the_first_choice_is_read() -> None:
    other = {"index": 1, "delta": {"content": "no"}, "finish_reason": "stop"}
    got, error = read(sse(chunk("a"), chunk(choices=[other])))
    assert words(got) == "a"
    assert isinstance(error, EngineUnavailable)


def test_words_repeated_under_message_are_not_said_twice() -> None:
    whole = {
        "index": 0,
        "delta": {},
        "message": {"role": "assistant", "content": "ab"},
        "finish_reason": "stop",
    }
    assert words(answer(chunk("a"), chunk("b"), chunk(choices=[whole]))) == "ab"


WHOLE = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "fake",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "好",
                "reasoning_content": "想",
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ],
            },
            "finish_reason": "tool_calls",
        }
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2},
}


@pytest.mark.parametrize(
    "data",
    [
        json.dumps(WHOLE).encode(),
        ("\ufeff\n" + json.dumps(WHOLE, ensure_ascii=False, indent=1)).encode(),
        sse(WHOLE, "[DONE]"),
    ],
    ids=["JSON", "JSON with a mark", "one event"],
)
def test_a_server_that_does_not_stream_is_taken_at_its_word(data: bytes) -> None:
    got, error = read(data)
    assert error is None
    assert got[:-1] == [ReasoningChunk("想"), TextChunk("好"), ToolCallChunk(0, "c1", "f", "{}")]
    assert isinstance(got[-1], FinishChunk)
    assert (got[-1].reason, got[-1].usage) == ("tool_calls", Usage(3, 2))


@pytest.mark.parametrize(
    ("data", "kind", "said"),
    [
        (b"", EngineUnavailable, "stopped before the first word|an empty body"),
        (sse(chunk(delta={"role": "assistant"})), EngineUnavailable, "stopped before the first word"),
        (sse(chunk("a")), EngineUnavailable, "stopped in the middle of the answer"),
        (sse(chunk("a"), "[DONE]"), EngineUnavailable, "stopped in the middle of the answer"),
        (b"<!doctype html><title>Sign in</title>", EngineUnavailable, "a web page: Sign in"),
        (b"<html><body><h1>It works!</h1>", EngineUnavailable, "a web page: It works!"),
        (b'{"hello": 1}', EngineUnavailable, "JSON without `choices`"),
        (b'{"choices": []}', EngineUnavailable, "stopped before the first word"),
        (b'{"broken', EngineUnavailable, "something that is no JSON"),
        (b'{"error":{"message":"overloaded"}}', EngineUnavailable, "overloaded"),
        (b'{"error":"model is loading"}', EngineUnavailable, "model is loading"),
        (b'[{"error":{"message":"bad","code":400}}]', EngineInvalidRequest, "bad"),
        (sse({"error": {"message": "slow", "type": "rate_limit_error"}}), EngineRateLimited, "slow"),
        (sse({"error": {"message": "no", "code": "invalid_api_key"}}), EngineAuthError, "no"),
        (sse({"error": {"message": "late", "type": "timeout"}}), EngineTimeout, "late"),
        (sse({"object": "error", "message": "too long", "code": 400}), EngineInvalidRequest, "too long"),
        (b'event: error\ndata: {"message": "boom"}\n\n', EngineUnavailable, "boom"),
        (b"event: error\ndata: boom\n\n", EngineUnavailable, "boom"),
        (b"data: {oops\n\n", EngineUnavailable, "an event that is no JSON: {oops"),
        (b"hello\nworld\n", EngineUnavailable, "stopped before the first word"),
    ],
    ids=lambda value: value.decode(errors="replace")[:40] if isinstance(value, bytes) else "",
)
def test_what_is_no_answer_is_an_error(data: bytes, kind: type[EngineError], said: str) -> None:
    got, error = read(data)
    assert type(error) is kind
    assert re.search(said, error.message), error.message
    assert not any(isinstance(c, FinishChunk) for c in got)


def test_words_before_an_error_are_given_first() -> None:
    got, error = read(sse(chunk("a"), chunk("b"), {"error": {"message": "boom"}}))
    assert words(got) == "ab"
    assert isinstance(error, EngineUnavailable)


def test_nothing_counts_after_the_end() -> None:
    assert words(answer(chunk("a", finish="stop"), "[DONE]", {"error": {"message": "late"}})) == "a"


def test_a_last_event_without_a_blank_line_counts() -> None:
    got, error = read(sse(chunk("a")) + sse(chunk(finish="stop")).rstrip())
    assert error is None
    assert words(got) == "a"


def test_arguments_for_nobody_are_an_error() -> None:
    nameless = {"tool_calls": [{"index": 0, "id": "c", "function": {"arguments": "{}"}}]}
    got, error = read(sse(chunk(delta=nameless), chunk(finish="tool_calls")))
    assert got == []
    assert isinstance(error, EngineUnavailable)


def test_an_error_never_shows_the_key() -> None:
    _, error = read(sse({"error": {"message": "bad key sk-very-secret", "code": "invalid_api_key"}}))
    assert "sk-very-secret" not in str(error)
    assert "bad key …" in str(error)


def test_a_body_without_an_end_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cozy.adapters.openai_answer.MAX_BODY_BYTES", 100)
    _, error = read(b'{"a": "', *[b"x" * 20] * 10)
    assert isinstance(error, EngineUnavailable)
    assert "without an end" in error.message


STREAMS = [
    b": ping\n\n"
    + sse(chunk(delta={"reasoning": "想"}), chunk("你好"), chunk("👋", finish="stop"), "[DONE]"),
    "\ufeff".encode() + sse(chunk(delta=CALL), chunk("é"), chunk(finish="stop"), usage_chunk()),
    sse(chunk("你"), chunk("好")).replace(b"\n", b"\r\n") + sse({"error": {"message": "断了"}}),
    b"\n\n" + json.dumps(WHOLE, ensure_ascii=False).encode(),
    "<html><title>登录</title>".encode(),
]


@given(st.sampled_from(STREAMS), st.lists(st.integers(0, 900), max_size=8).map(sorted))
def test_chunks_do_not_depend_on_where_the_bytes_were_cut(stream: bytes, cuts: list[int]) -> None:
    bounds = [0, *(min(cut, len(stream)) for cut in cuts), len(stream)]
    got, error = read(*(stream[a:b] for a, b in pairwise(bounds) if a < b))
    whole, whole_error = read(stream)
    assert got == whole
    assert str(error) == str(whole_error)
