"""The demo model: its stream, its calls of tools, its bounds."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozy.adapters.builtin_tools import BuiltinTools
from cozy.adapters.demo_llm import DemoLLM
from cozy.adapters.demo_talk import INTRODUCTION_EN
from cozy.ports.llm import FinishChunk, LLMRequest, ModelCard, TextChunk, ToolCallChunk
from cozy.ports.tools import ToolSpec
from cozy.turn import Message, Sampling, ToolCall
from cozy.usage import Usage
from tests.adapters.demo_talks import ANSWERED, SYSTEM, TOOLS, chunks, says


@pytest.mark.parametrize("text", ["现在几点了？", "what time is it in Tokyo?"])
async def test_a_call_of_a_tool_streams_like_a_models(text: str) -> None:
    got = await chunks(LLMRequest("demo/demo", (SYSTEM, Message("user", text)), tools=TOOLS))
    arguments = "{}" if "几点" in text else '{"timezone": "Tokyo"}'
    assert got[:-1] == [
        ToolCallChunk(0, "demo_call_1", "current_time"),
        ToolCallChunk(0, arguments=arguments),
    ]
    assert isinstance(got[-1], FinishChunk)
    assert got[-1].reason == "tool_calls"


async def test_several_tools_are_called_at_once_with_ids_of_their_own() -> None:
    made = Message("assistant", tool_calls=(ToolCall("demo_call_1", "calculator", "{}"),))
    messages = (SYSTEM, Message("user", "1+1"), made, Message("tool", "2", tool_call_id="demo_call_1"))
    asking = (*messages, Message("assistant", "2"), Message("user", "现在几点了？3*7等于几？"))
    got = await chunks(LLMRequest("demo/demo", asking, tools=TOOLS))
    calls = [c for c in got if isinstance(c, ToolCallChunk) and c.name]
    assert [(c.index, c.id, c.name) for c in calls] == [
        (0, "demo_call_2", "current_time"),
        (1, "demo_call_3", "calculator"),
    ]


def after(text: str, *results: tuple[str, str, str]) -> tuple[Message, ...]:
    """A turn in which tools have answered: (name, arguments, content)."""
    calls = tuple(
        ToolCall(f"demo_call_{i}", name, arguments) for i, (name, arguments, _) in enumerate(results)
    )
    contents = (Message("tool", c, tool_call_id=f"demo_call_{i}") for i, (_, _, c) in enumerate(results))
    return (*ANSWERED, Message("user", text), Message("assistant", tool_calls=calls), *contents)


@pytest.mark.parametrize(
    ("text", "name", "arguments", "content", "expected"),
    [
        (
            "现在几点了",
            "current_time",
            "{}",
            "2026年11月22日 星期日 13:00:00（当地时间）",
            "现在是2026年11月22日 星期日 13:00:00（当地时间）。",
        ),
        (
            "what time is it",
            "current_time",
            "{}",
            "2026-11-22 13:00:00, Sunday",
            "It is 2026-11-22 13:00:00, Sunday.",
        ),
        ("what is 12*(3+4)?", "calculator", '{"expression": "12*(3+4)"}', "84", "12*(3+4) = 84"),
        ("2的平方根", "calculator", '{"expression": "sqrt(2)"}', "≈ 1.414", "sqrt(2) ≈ 1.414"),
        ("5 km to miles", "unit_convert", "{}", "5 km ≈ 3.106855961 mi", "5 km ≈ 3.106855961 mi"),
        ("抛硬币", "random_choice", "{}", "正面", "选中的是：正面。"),
        ("flip a coin", "random_choice", "{}", "heads", "It is: heads."),
        (
            "9**9**9",
            "calculator",
            '{"expression": "9**9**9"}',
            "too large\nhint: x",
            "`calculator` gave no result: too large",
        ),
        (
            "1/0",
            "calculator",
            '{"expression": "1/0"}',
            "column 2: division by zero",
            "`calculator` gave no result: division by zero",
        ),
        (
            "火星现在几点",
            "current_time",
            "{}",
            "there is no time zone `火星`",
            "工具 `current_time` 没有给出结果：there is no time zone `火星`",
        ),
        ("weather?", "mcp/weather/forecast", "{}", "Sunny, 20 °C", "Sunny, 20 °C"),
    ],
)
async def test_an_answer_is_made_of_what_the_tool_said(
    text: str, name: str, arguments: str, content: str, expected: str
) -> None:
    assert await says(*after(text, (name, arguments, content))) == expected


async def test_the_introduction_follows_the_answer_of_the_first_turn_with_tools() -> None:
    messages = after("1+1", ("calculator", '{"expression": "1+1"}', "2"))[len(ANSWERED) :]
    assert await says(*messages) == f"1+1 = 2\n\n{INTRODUCTION_EN}"


async def test_the_tools_that_are_really_there_answer_it() -> None:
    from uuid import uuid4

    from cozy.ports.tools import ToolCaller
    from cozy.turn import TurnId, UserId

    toolbox = BuiltinTools(timezone="Asia/Shanghai", now=lambda: datetime(2026, 11, 22, 5, tzinfo=UTC))
    caller = ToolCaller(UserId(uuid4()), None, TurnId(uuid4()), "p", "zh-CN")
    messages = (SYSTEM, Message("user", "现在几点了？3加5等于几？"))
    got = await chunks(LLMRequest("demo/demo", messages, tools=tuple(toolbox.specs())))
    pieces = [c for c in got if isinstance(c, ToolCallChunk)]
    results = [
        (
            first.name,
            rest.arguments,
            (await toolbox.call(first.name, json.loads(rest.arguments), caller)).content,
        )
        for first, rest in zip(pieces[::2], pieces[1::2], strict=True)
    ]
    answer = await says(*after("现在几点了？3加5等于几？", *results))
    assert answer == "现在是2026年11月22日 星期日 13:00:00（Asia/Shanghai，UTC+08:00）。\n3+5 = 8"


async def test_a_tool_that_is_not_offered_is_named() -> None:
    assert "`current_time`" in await says(*ANSWERED, Message("user", "what time is it?"), tools=())
    assert "`calculator`" in await says(*ANSWERED, Message("user", "1+1"), tool_choice="none")


BASKET = ToolSpec(
    "show_basket",
    "Shows it.",
    {
        "type": "object",
        "properties": {"who": {"type": "string"}, "count": {"type": "integer"}, "note": {"type": "string"}},
        "required": ["who", "count"],
    },
)


@pytest.mark.parametrize("choice", ["required", "show_basket"])
async def test_a_tool_that_must_be_called_is_called_with_what_the_message_gives(choice: str) -> None:
    asked = (SYSTEM, Message("user", "Show me 3 things"))
    request = LLMRequest("demo/demo", asked, tools=(*TOOLS, BASKET), tool_choice=choice)
    name, arguments, finish = await chunks(request)
    assert name == ToolCallChunk(0, "demo_call_1", "show_basket")
    assert isinstance(arguments, ToolCallChunk)
    assert json.loads(arguments.arguments) == {"who": "Show me 3 things", "count": 3}
    assert isinstance(finish, FinishChunk)
    assert finish.reason == "tool_calls"


async def test_of_tools_one_of_which_must_be_called_the_one_that_is_named_is() -> None:
    asked = (SYSTEM, Message("user", "please show_basket"))
    request = LLMRequest("demo/demo", asked, tools=(BASKET, *TOOLS), tool_choice="required")
    assert (await chunks(request))[0] == ToolCallChunk(0, "demo_call_1", "show_basket")


async def test_a_tool_of_the_clients_that_no_rule_knows_is_left_alone() -> None:
    assert await says(*ANSWERED, Message("user", "thanks"), tools=(BASKET,)) == "You are welcome."


async def test_a_result_of_a_clients_tool_is_the_answer_even_where_a_tool_must_be_called() -> None:
    messages = after("what is in it?", ("show_basket", "{}", "3 apples"))
    assert await says(*messages, tools=(BASKET,), tool_choice="required") == "3 apples"


async def test_calls_that_a_client_made_up_are_answered_too() -> None:
    for arguments in ("nonsense", "[]", ""):
        assert await says(*after("1+1", ("calculator", arguments, "2"))) == " = 2"


async def test_json_is_answered_where_it_is_wanted() -> None:
    sampling = Sampling(response_format={"type": "json_object"})
    said = await says(*ANSWERED, Message("user", "thanks"), sampling=sampling)
    assert json.loads(said) == {"answer": "You are welcome."}
    schema = {"name": "order", "schema": dict(BASKET.parameters)}
    sampling = Sampling(response_format={"type": "json_schema", "json_schema": schema})
    said = await says(Message("user", "我要2个"), sampling=sampling)
    assert json.loads(said) == {"who": "我要2个", "count": 2}
    said = await says(*after("what is in it?", ("show_basket", "{}", "3 apples")), sampling=sampling)
    assert json.loads(said) == {"who": "3 apples", "count": 3}
    assert await says(
        *ANSWERED, Message("user", "thanks"), sampling=Sampling(response_format={"type": "text"})
    )


@pytest.mark.parametrize(
    ("sampling", "said", "reason"),
    [
        (Sampling(stop=("welcome",)), "You are ", "stop"),
        (Sampling(stop=("",)), "You are welcome.", "stop"),
        (Sampling(max_tokens=2), "You are", "length"),
    ],
)
async def test_an_answer_ends_where_the_client_wants_it(sampling: Sampling, said: str, reason: str) -> None:
    got = await chunks(LLMRequest("demo/demo", (*ANSWERED, Message("user", "thanks")), sampling=sampling))
    assert "".join(c.text for c in got if isinstance(c, TextChunk)) == said
    assert isinstance(got[-1], FinishChunk)
    assert got[-1].reason == reason


async def test_it_streams_word_by_word_and_chinese_by_two_characters() -> None:
    request = LLMRequest("demo/demo", (SYSTEM, *ANSWERED, Message("user", "我叫Ada Lovelace")))
    assert [c.text for c in await chunks(request) if isinstance(c, TextChunk)] == [
        "好的", "，知", "道了", "：你", "叫", "Ada", " Lovelace", "。",
    ]  # fmt: skip


async def test_it_reports_what_it_cost() -> None:
    request = LLMRequest("demo/demo", (Message("system", "be brief"), *ANSWERED, Message("user", "你好")))
    last = (await chunks(request))[-1]
    assert last == FinishChunk(
        "stop", Usage(prompt_tokens=2 + 1 + 2 + 2 + 4 * 3, completion_tokens=3), "demo"
    )


async def test_the_bounds_of_an_answer_are_kept() -> None:
    messages = (SYSTEM, *ANSWERED, Message("user", "what can you do?"))
    got = await chunks(LLMRequest("demo/demo", messages, sampling=Sampling(max_tokens=4)))
    assert [c.text for c in got if isinstance(c, TextChunk)] == ["I", " can", " remember", " what"]
    assert isinstance(got[-1], FinishChunk)
    assert got[-1].reason == "length"
    got = await chunks(LLMRequest("demo/demo", messages, sampling=Sampling(stop=(" remember",))))
    assert "".join(c.text for c in got if isinstance(c, TextChunk)) == "I can"


async def test_a_pause_between_pieces_can_be_asked_for() -> None:
    request = LLMRequest("demo/demo", (SYSTEM, *ANSWERED, Message("user", "你好")))
    began = anyio.current_time()
    async with DemoLLM(delay_s=0.01).stream(request) as answer:
        pieces = [chunk async for chunk in answer]
    assert anyio.current_time() - began >= 0.01 * (len(pieces) - 1) * 0.9


async def test_a_reader_that_never_waits_can_be_cancelled() -> None:
    async def read() -> None:
        async with DemoLLM().stream(
            LLMRequest("demo/demo", (Message("user", "what can you do?"),))
        ) as answer:
            async for _ in answer:
                pass

    with anyio.CancelScope() as scope:
        scope.cancel()
        await read()
    assert scope.cancelled_caught


def test_its_card_needs_no_network() -> None:
    assert DemoLLM().card("demo/demo") == ModelCard("demo/demo", 32_768)


ROLES = st.sampled_from(["system", "user", "assistant", "tool"])
WORDS = st.text(alphabet="我叫什么 abc my?？12+(=\n<context>/-:：", max_size=60)


@given(st.lists(st.builds(Message, ROLES, WORDS), max_size=6))
async def test_any_conversation_has_an_answer_and_always_the_same(messages: list[Message]) -> None:
    request = LLMRequest("demo/demo", tuple(messages), tools=TOOLS)
    first = await chunks(request)
    assert isinstance(first[-1], FinishChunk)
    assert first == await chunks(request)
