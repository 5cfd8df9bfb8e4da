"""A model that speaks from a script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
import pytest
import strictyaml
from pydantic import ValidationError

from cozy.adapters.scripted import ENGINE_ERRORS, Fault, Reply, ScriptedCall, ScriptedLLM, ScriptError
from cozy.errors import EngineError, EngineRateLimited, EngineUnavailable
from cozy.ports.llm import Chunk, FinishChunk, LLMRequest, ModelCard, ReasoningChunk, TextChunk, ToolCallChunk
from cozy.turn import Message
from cozy.usage import Usage


def request(text: str = "你好", model: str = "fake/a") -> LLMRequest:
    return LLMRequest(model, (Message("user", text),))


async def answer(llm: ScriptedLLM, asked: LLMRequest | None = None) -> list[Chunk]:
    async with llm.stream(asked or request()) as chunks:
        return [chunk async for chunk in chunks]


async def until_error(llm: ScriptedLLM, asked: LLMRequest | None = None) -> tuple[list[Chunk], EngineError]:
    got: list[Chunk] = []

    async def listen() -> None:
        async with llm.stream(asked or request()) as chunks:
            async for chunk in chunks:
                got.append(chunk)

    with pytest.raises(EngineError) as caught:
        await listen()
    return got, caught.value


async def test_words_alone_are_a_script() -> None:
    llm = ScriptedLLM("Hi", " there")
    assert await answer(llm) == [TextChunk("Hi"), TextChunk(" there"), FinishChunk("stop", None, "a")]
    assert llm.requests == [request()]
    llm.finish()


async def test_a_reply_may_hold_everything_that_a_model_says() -> None:
    reply = Reply(
        reasoning=("想", "想"),
        text=("好",),
        tool_calls=(
            ScriptedCall(name="f", arguments=('{"x"', ":1}")),
            ScriptedCall(name="g", id="own"),
        ),
        usage={"prompt": 9, "completion": 4, "cached": 2, "reasoning": 1},  # type: ignore[arg-type]
        answers_as="a-2026",
    )
    assert await answer(ScriptedLLM(replies=[reply])) == [
        ReasoningChunk("想"),
        ReasoningChunk("想"),
        TextChunk("好"),
        ToolCallChunk(0, "call_1", "f", '{"x"'),
        ToolCallChunk(0, arguments=":1}"),
        ToolCallChunk(1, "own", "g", "{}"),
        FinishChunk("tool_calls", Usage(9, 4, 2, 1), "a-2026"),
    ]


SCRIPT = """\
- text: 现在是五点。
  usage:
    prompt: 12
    completion: 6
- model: openai/gpt-4o
  fault:
    kind: EngineRateLimited
    after: 1
    message: slow down
    retry_after_s: 2.5
  text:
    - One
    - " two"
- contains: weather
  reasoning: hm
  tool_calls:
    - name: mcp/weather/forecast
      arguments: '{"city": "京都"}'
    - name: calculator
      arguments:
        expression: 1+1
  finish_reason: stop
  delay_ms: 0
  pause: gate
  pause_after: 2
  times: 2
  model:
"""


def test_a_script_is_read_from_yaml_where_every_value_is_text() -> None:
    first, second, third = map(Reply.model_validate, strictyaml.load(SCRIPT).data)
    assert first.text == ("现在是五点。",)
    assert first.usage is not None
    assert first.usage.value() == Usage(12, 6)
    assert second.text == ("One", " two")
    assert second.fault == Fault(kind="EngineRateLimited", after=1, message="slow down", retry_after_s=2.5)
    assert third.reasoning == ("hm",)
    assert [call.arguments for call in third.tool_calls] == [
        ('{"city": "京都"}',),
        ('{"expression": "1+1"}',),
    ]
    assert (third.finish_reason, third.pause, third.pause_after, third.times) == ("stop", "gate", 2, 2)
    assert third.model is None


@pytest.mark.parametrize(
    "data",
    [
        {"txt": "a"},
        {"text": {"a": "b"}},
        {"times": "0"},
        {"delay_ms": "-1"},
        {"delay_ms": "nan"},
        {"finish_reason": "done"},
        {"fault": {"kind": "EngineBroken"}},
        {"fault": {"kind": "ToolError"}},
        {"tool_calls": [{"arguments": "{}"}]},
        "just words",
    ],
    ids=str,
)
def test_a_script_that_means_nothing_is_refused(data: Any) -> None:
    with pytest.raises(ValidationError):
        Reply.model_validate(data)


async def test_replies_are_taken_in_order() -> None:
    llm = ScriptedLLM(replies=[{"text": "1"}, {"text": "2", "times": "2"}])
    assert [(await answer(llm))[0] for _ in range(3)] == [TextChunk("1"), TextChunk("2"), TextChunk("2")]
    llm.finish()


async def test_a_reply_may_be_meant_for_one_model_or_one_question() -> None:
    llm = ScriptedLLM(
        replies=[
            {"text": "b", "model": "fake/b"},
            {"text": "weather", "contains": "天气"},
            {"text": "any"},
        ]
    )
    assert (await answer(llm, request("你好")))[0] == TextChunk("any")
    assert (await answer(llm, request("天气如何")))[0] == TextChunk("weather")
    assert (await answer(llm, request("天气如何", "fake/b")))[0] == TextChunk("b")
    llm.finish()


async def test_a_request_without_a_reply_is_an_error_that_nothing_degrades() -> None:
    llm = ScriptedLLM(replies=[{"text": "b", "model": "fake/b"}])
    with pytest.raises(ScriptError) as caught:
        await answer(llm, request("天气如何"))
    assert str(caught.value) == (
        "the script has no reply for request 1 to `fake/a`, which ends in user: “天气如何”; "
        "unused: “b” to `fake/b`"
    )
    assert not isinstance(caught.value, EngineError)
    with pytest.raises(ScriptError, match=r"no reply for request 1(.|\n)*no request took the reply “b”"):
        llm.finish()


async def test_replies_that_nobody_asked_for_are_an_error_at_the_end() -> None:
    llm = ScriptedLLM(
        replies=[
            {"text": "again", "times": "3"},
            {"tool_calls": [{"name": "f"}], "contains": "x"},
            {"fault": {"kind": "stall"}},
            {},
        ]
    )
    await answer(llm)
    with pytest.raises(ScriptError) as caught:
        llm.finish()
    assert str(caught.value).splitlines() == [
        "no request took the reply f(…) asked “x”",
        "no request took the reply stall",
        "no request took the reply without words",
        "too few requests took the reply “again”",
    ]


@pytest.mark.parametrize("kind", [*ENGINE_ERRORS, "cut"])
@pytest.mark.parametrize("after", [0, 1, 9])
async def test_a_model_fails_where_the_script_says(kind: str, after: int) -> None:
    script: Mapping[str, Any] = {"text": ["a", "b"], "fault": {"kind": kind, "after": str(after)}}
    llm = ScriptedLLM(replies=[script])
    got, error = await until_error(llm)
    assert got == [TextChunk("a"), TextChunk("b")][:after]
    assert type(error) is ENGINE_ERRORS.get(kind, EngineUnavailable)
    assert error.engine == "fake"
    assert [(heard.pieces, heard.ended) for heard in llm.heard] == [(min(after, 2), "failed")]


async def test_a_failure_tells_what_the_script_says() -> None:
    fault = {"kind": "EngineRateLimited", "message": "太快了", "retry_after_s": "2"}
    _, error = await until_error(ScriptedLLM(replies=[{"fault": fault}]))
    assert isinstance(error, EngineRateLimited)
    assert (error.message, error.retry_after_s) == ("fake: 太快了", 2.0)


@pytest.mark.usefixtures("no_time")
async def test_a_stall_lasts_until_somebody_gives_up() -> None:
    llm = ScriptedLLM(replies=[{"text": "a", "fault": {"kind": "stall", "after": "1"}}])
    got: list[Chunk] = []
    with anyio.move_on_after(0.02) as scope:
        async with llm.stream(request()) as chunks:
            async for chunk in chunks:
                got.append(chunk)
    assert scope.cancelled_caught
    assert got == [TextChunk("a")]
    assert llm.heard[0].ended == "left"


async def test_an_answer_waits_at_its_gate() -> None:
    llm = ScriptedLLM(replies=[{"text": ["a", "b"], "pause": "half", "pause_after": "1"}])
    got: list[Chunk] = []

    async def read() -> None:
        async with llm.stream(request()) as chunks:
            async for chunk in chunks:
                got.append(chunk)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await llm.reached("half")
        assert got == [TextChunk("a")]
        llm.open("half")
    assert got[:2] == [TextChunk("a"), TextChunk("b")]
    assert llm.heard[0].ended == "whole"


async def test_a_gate_may_stand_at_the_very_end() -> None:
    llm = ScriptedLLM(replies=[{"text": "a", "pause": "end", "pause_after": "1"}])
    llm.open("end")
    assert isinstance((await answer(llm))[-1], FinishChunk)


async def test_what_becomes_of_each_answer_is_on_record() -> None:
    llm = ScriptedLLM(replies=[{"text": "whole"}, {"text": ["le", "ft"]}])
    await answer(llm)
    async with llm.stream(request()) as chunks:
        await anext(chunks)
        assert llm.heard[1].ended == "running"
    assert [(heard.pieces, heard.ended) for heard in llm.heard] == [(1, "whole"), (1, "left")]


@pytest.mark.usefixtures("no_time")
async def test_pieces_come_as_slowly_as_the_script_says() -> None:
    llm = ScriptedLLM(replies=[{"text": ["a", "b"], "first_delay_ms": "20", "delay_ms": "5"}])
    began = anyio.current_time()
    await answer(llm)
    assert anyio.current_time() - began == pytest.approx(0.03)


def test_cards_are_scripted_too() -> None:
    card = ModelCard("fake/b", 1000)
    llm = ScriptedLLM(context_tokens=500, cards={"fake/b": card})
    assert llm.card("fake/a") == ModelCard("fake/a", 500)
    assert llm.card("fake/b") is card
