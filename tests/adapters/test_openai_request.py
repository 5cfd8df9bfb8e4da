"""LLMRequest → the body that a server wants."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cozy.adapters.model_servers import OpenAIServer
from cozy.adapters.openai_request import WireRequest, wire_names, wire_request
from cozy.ports.llm import LLMRequest
from cozy.ports.tools import ToolSpec
from cozy.turn import Message, Sampling, ToolCall

SERVERS = {
    "openai": OpenAIServer("openai", "https://api.openai.com/v1"),
    "azure": OpenAIServer("azure", "https://me.openai.azure.com/openai/v1"),
    "ollama": OpenAIServer("ollama", "http://127.0.0.1:11434/v1"),
    "lmstudio": OpenAIServer("lmstudio", "http://127.0.0.1:1234/v1"),
    "vllm": OpenAIServer("vllm", "http://gpu:8000/v1"),
    "deepseek": OpenAIServer("deepseek", "https://api.deepseek.com/v1"),
    "mistral": OpenAIServer("mistral", "https://api.mistral.ai/v1"),
    "generic": OpenAIServer("other", "http://gpu:9999/v1"),
}
CALCULATOR = ToolSpec("calculator", "Works out sums.", {"type": "object"})
FORECAST = ToolSpec("mcp/weather/forecast", "Tells the weather.", {"type": "object"})
HELLO = (Message("system", "简短。"), Message("user", "你好"))


def wire(server: str, model: str = "m", **fields: Any) -> WireRequest:
    return wire_request(SERVERS[server], LLMRequest(f"{server}/{model}", **{"messages": HELLO, **fields}))


def body(server: str, model: str = "m", **fields: Any) -> dict[str, Any]:
    return dict(wire(server, model, **fields).body)


@pytest.mark.parametrize("server", SERVERS)
def test_the_plain_request(server: str) -> None:
    sent = wire(server)
    assert sent.model == "m"
    assert sent.body["messages"] == [
        {"role": "system", "content": "简短。"},
        {"role": "user", "content": "你好"},
    ]
    assert set(sent.body) - {"stream_options"} == {"messages"}


def test_a_model_keeps_the_slashes_of_its_own_name() -> None:
    assert wire("vllm", "Qwen/Qwen3-8B").model == "Qwen/Qwen3-8B"


@pytest.mark.parametrize(
    ("server", "model", "field"),
    [
        ("openai", "gpt-4.1-mini", "max_completion_tokens"),
        ("openai", "o3", "max_completion_tokens"),
        ("azure", "gpt-4o", "max_completion_tokens"),
        ("ollama", "qwen3", "max_tokens"),
        ("lmstudio", "qwen3", "max_tokens"),
        ("vllm", "qwen3", "max_tokens"),
        ("deepseek", "deepseek-chat", "max_tokens"),
        ("mistral", "mistral-large", "max_tokens"),
        ("generic", "m", "max_tokens"),
        ("generic", "openai/gpt-5", "max_completion_tokens"),
    ],
)
def test_the_length_goes_into_the_field_that_the_server_reads(server: str, model: str, field: str) -> None:
    sent = body(server, model, sampling=Sampling(max_tokens=77))
    assert sent[field] == 77
    assert len({"max_tokens", "max_completion_tokens"} & set(sent)) == 1


@pytest.mark.parametrize("server", SERVERS)
def test_usage_is_asked_for_where_that_is_understood(server: str) -> None:
    expected = None if server == "mistral" else {"include_usage": True}
    assert body(server).get("stream_options") == expected


@pytest.mark.parametrize("server", SERVERS)
def test_the_user_is_named_where_that_is_understood(server: str) -> None:
    assert body(server, user="u1").get("user") == ("u1" if server in ("openai", "azure") else None)


def test_sampling_is_passed_on() -> None:
    sampling = Sampling(
        temperature=0.0,
        top_p=0.5,
        stop=("。",),
        seed=7,
        presence_penalty=0.1,
        frequency_penalty=-0.1,
        reasoning_effort="low",
        response_format={"type": "json_object"},
        extra={"min_p": 0.05, "top_p": 0.6},
    )
    sent = body("vllm", sampling=sampling)
    assert {key: sent[key] for key in sent if key not in ("messages", "stream_options")} == {
        "temperature": 0.0,
        "top_p": 0.6,
        "stop": ["。"],
        "seed": 7,
        "presence_penalty": 0.1,
        "frequency_penalty": -0.1,
        "reasoning_effort": "low",
        "response_format": {"type": "json_object"},
        "min_p": 0.05,
    }
    assert body("mistral", sampling=sampling)["random_seed"] == 7


def test_a_reasoning_model_is_not_sent_what_it_refuses() -> None:
    sampling = Sampling(temperature=0.7, top_p=0.9, stop=("x",), seed=7)
    sent = wire("openai", "o4-mini", sampling=sampling)
    assert sent.unsent == ("temperature", "top_p", "stop")
    assert not {"temperature", "top_p", "stop"} & set(sent.body)
    assert sent.body["seed"] == 7
    assert sent.body["messages"][0]["role"] == "developer"


def test_a_reasoning_model_that_shall_not_reason_takes_sampling() -> None:
    sampling = Sampling(temperature=0.7, reasoning_effort="none")
    sent = wire("openai", "gpt-5.1", sampling=sampling)
    assert sent.body["temperature"] == 0.7
    assert sent.unsent == ()


@pytest.mark.parametrize("server", sorted(SERVERS.keys() - {"openai", "azure"}))
def test_no_other_server_is_sent_the_developer_role(server: str) -> None:
    assert body(server, "o3")["messages"][0]["role"] == "system"


def test_tools_and_their_calls_go_by_names_that_the_api_takes() -> None:
    call = ToolCall("c1", "mcp/weather/forecast", '{"city":"京都"}')
    sent = wire(
        "openai",
        messages=(*HELLO, Message("assistant", tool_calls=(call,)), Message("tool", "晴", tool_call_id="c1")),
        tools=(CALCULATOR, FORECAST),
    )
    assert [tool["function"]["name"] for tool in sent.body["tools"]] == ["calculator", "mcp_weather_forecast"]
    assert sent.tool_names == {"mcp_weather_forecast": "mcp/weather/forecast"}
    assert sent.body["messages"][2:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "mcp_weather_forecast", "arguments": '{"city":"京都"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "晴"},
    ]


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ('{"x": 1}', '{"x": 1}'),
        ("", "{}"),
        ("{x: 1", '{"unreadable_arguments": "{x: 1"}'),
        ('"你"', '{"unreadable_arguments": "\\"你\\""}'),
    ],
    ids=["an object", "nothing", "no JSON", "no object"],
)
def test_arguments_that_a_server_could_not_parse_are_wrapped(written: str, sent: str) -> None:
    message = Message("assistant", tool_calls=(ToolCall("c1", "calculator", written),))
    call = body("ollama", messages=(*HELLO, message))["messages"][2]["tool_calls"][0]
    assert call["function"]["arguments"] == sent


def named_choice(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


@pytest.mark.parametrize(
    ("server", "model", "choice", "tools", "sent", "unsent"),
    [
        ("openai", "m", "auto", 2, None, ()),
        ("openai", "m", "none", 2, "none", ()),
        ("openai", "m", "required", 2, "required", ()),
        ("openai", "m", "mcp/weather/forecast", 2, named_choice("mcp_weather_forecast"), ()),
        ("lmstudio", "m", "required", 2, "required", ()),
        ("lmstudio", "m", "calculator", 1, "required", ()),
        ("ollama", "m", "none", 0, None, ()),
        ("ollama", "m", "required", 2, None, ("tool_choice",)),
        ("ollama", "m", "calculator", 1, None, ("tool_choice",)),
        ("deepseek", "deepseek-chat", "required", 2, "required", ()),
        ("deepseek", "deepseek-reasoner", "required", 2, None, ("tool_choice",)),
        ("deepseek", "deepseek-reasoner", "none", 2, "none", ()),
    ],
)
def test_the_choice_of_tools_is_said_as_the_server_understands_it(
    server: str, model: str, choice: str, tools: int, sent: Any, unsent: tuple[str, ...]
) -> None:
    made = wire(server, model, tools=(CALCULATOR, FORECAST), tool_choice=choice)
    assert len(made.body.get("tools", ())) == tools
    assert made.body.get("tool_choice") == sent
    assert made.unsent == unsent


@pytest.mark.parametrize("given", [True, False, None])
def test_whether_several_calls_are_wanted_is_said_where_it_is_given(given: bool | None) -> None:
    sent = body("openai", tools=(CALCULATOR,), parallel_tool_calls=given)
    assert sent.get("parallel_tool_calls") is given
    assert "parallel_tool_calls" not in body("openai", parallel_tool_calls=given)


@pytest.mark.parametrize("given", [True, False, None])
def test_strictness_is_said_where_it_is_given(given: bool | None) -> None:
    sent = body("openai", tools=(ToolSpec("basket", "", {"type": "object"}, strict=given),))
    assert sent["tools"][0]["function"].get("strict") is given


def test_a_clients_tool_has_the_name_that_the_client_gave_it_whatever_ours_are_called() -> None:
    taken = ToolSpec("mcp_weather_forecast", "The client's.", {"type": "object"})
    sent = wire("openai", tools=(FORECAST, taken), tool_choice="mcp_weather_forecast")
    names = [tool["function"]["name"] for tool in sent.body["tools"]]
    assert names[1] == "mcp_weather_forecast"
    assert sent.tool_names == {names[0]: "mcp/weather/forecast"}
    assert sent.body["tool_choice"] == named_choice("mcp_weather_forecast")


@given(st.lists(st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)), st.lists(st.text()))
def test_every_name_that_the_api_takes_stays(clients: list[str], ours: list[str]) -> None:
    names = wire_names([*ours, *clients])
    assert all(names[name] == name for name in clients)


def test_without_tools_nothing_is_said_of_them() -> None:
    sent = body("openai", tool_choice="required")
    assert not {"tools", "tool_choice"} & set(sent)


@pytest.mark.parametrize(
    ("server", "model", "reasoning", "sent"),
    [
        ("deepseek", "deepseek-chat", "想", "想"),
        ("deepseek", "deepseek-chat", None, ""),
        ("vllm", "deepseek-ai/DeepSeek-R1", "想", "想"),
        ("generic", "moonshot/kimi-k2", "想", "想"),
        ("openai", "gpt-4o", "想", None),
        ("generic", "mistral-large", "想", None),
    ],
)
def test_reasoning_goes_back_beside_tool_calls_where_it_is_wanted(
    server: str, model: str, reasoning: str | None, sent: str | None
) -> None:
    call = ToolCall("c1", "calculator", "{}")
    messages = (
        *HELLO,
        Message("assistant", "嗯", tool_calls=(call,), reasoning=reasoning),
        Message("assistant", "好", reasoning=reasoning),
    )
    calling, speaking = body(server, model, messages=messages)["messages"][2:]
    assert calling.get("reasoning_content") == sent
    assert calling["content"] == "嗯"
    assert "reasoning_content" not in speaking


def test_parts_beyond_the_text_follow_it() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    parts = ({"type": "text", "text": "stale"}, image)
    sent = body("openai", messages=(Message("user", "这是什么？", parts=parts), Message("user", parts=parts)))
    assert [message["content"] for message in sent["messages"]] == [
        [{"type": "text", "text": "这是什么？"}, image],
        [image],
    ]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["calculator", "a-b_C9"], ["calculator", "a-b_C9"]),
        (["mcp/weather/forecast", "a.b"], ["mcp_weather_forecast", "a_b"]),
        (["a/b", "a_b"], [r"a_b_[0-9a-f]{8}", "a_b"]),
        (["a/b", "a.b"], [r"a_b_[0-9a-f]{8}", r"a_b_[0-9a-f]{8}"]),
        (["计算", ""], [r"tool_[0-9a-f]{8}", r"tool_[0-9a-f]{8}"]),
        (["x" * 64, "x" * 65], ["x" * 64, r"x{55}_[0-9a-f]{8}"]),
    ],
    ids=["as they are", "strange characters", "one name taken", "two alike", "nothing left", "too long"],
)
def test_names_of_tools_are_made_to_fit(names: list[str], expected: list[str]) -> None:
    made = wire_names(names)
    for name, pattern in zip(names, expected, strict=True):
        assert re.fullmatch(pattern, made[name]), made[name]


@given(st.lists(st.text(alphabet="ab/._计 -", max_size=70), unique=True, max_size=12))
def test_every_name_can_be_told_from_what_is_sent(names: list[str]) -> None:
    made = wire_names(names)
    assert list(made) == names
    assert len(set(made.values())) == len(names)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", sent) for sent in made.values())


def test_a_body_is_json() -> None:
    sent = body("openai", tools=(CALCULATOR,), sampling=Sampling(stop=("a",)))
    assert json.loads(json.dumps(sent)) == sent
