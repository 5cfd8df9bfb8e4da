"""LangChain's own client of OpenAI's API, talking to a real server."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from openai import NotFoundError
from pydantic import BaseModel, SecretStr

from tests.interfaces.http.serving import Served
from tests.upstream import Upstream, calls, says


@tool
def weather(town: str) -> str:
    """The weather of a town."""
    return f"rain in {town}"


class Tea(BaseModel):
    """A tea."""

    name: str
    minutes: int


@pytest.fixture
def chat(house: Served, ada: str) -> ChatOpenAI:
    return ChatOpenAI(
        model="mia", base_url=f"{house.url}/v1", api_key=SecretStr(ada), stream_usage=True, max_retries=0
    )


async def test_a_plain_answer(chat: ChatOpenAI) -> None:
    answer = await chat.ainvoke([SystemMessage("Be short."), HumanMessage("茶？")])
    assert answer.content == "Hi there"
    assert (answer.response_metadata["finish_reason"], answer.response_metadata["model_name"]) == (
        "stop",
        "mia",
    )
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["total_tokens"] > 0


async def test_a_stream_adds_up_to_the_answer(chat: ChatOpenAI) -> None:
    chunks = [chunk async for chunk in chat.astream("tea?")]
    assert [chunk.content for chunk in chunks if chunk.content] == ["Hi", " there"]
    whole = sum(chunks[1:], chunks[0])
    assert isinstance(whole, AIMessageChunk)
    assert whole.response_metadata["finish_reason"] == "stop"
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["total_tokens"] > 0


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
async def test_a_tool_is_called_run_by_the_client_and_answered(
    chat: ChatOpenAI, up: Upstream, streamed: bool
) -> None:
    up.then(calls(("weather", '{"town": "Oslo"}')), says("Rain."))
    bound = chat.bind_tools([weather])
    asked: list[Any] = [HumanMessage("Oslo?")]
    if streamed:
        parts = [part async for part in bound.astream(asked)]
        said: Any = sum(parts[1:], parts[0])
    else:
        said = await bound.ainvoke(asked)
    assert isinstance(said, AIMessage)
    [call] = said.tool_calls
    assert (call["name"], call["args"]) == ("weather", {"town": "Oslo"})
    result = await weather.ainvoke(call)
    assert isinstance(result, ToolMessage)
    answer = await bound.ainvoke([*asked, said, result])
    assert answer.content == "Rain."
    assert up.requests[-1].body["messages"][-1] == {
        "role": "tool",
        "tool_call_id": call["id"],
        "content": "rain in Oslo",
    }


async def test_an_answer_of_a_given_shape(chat: ChatOpenAI, up: Upstream) -> None:
    up.then(says('{"name": "龙井", "minutes": 3}'))
    tea = await chat.with_structured_output(Tea, method="json_schema").ainvoke("Which tea?")
    assert tea == Tea(name="龙井", minutes=3)
    assert up.requests[-1].body["response_format"]["type"] == "json_schema"


async def test_several_questions_side_by_side(chat: ChatOpenAI) -> None:
    answers = await chat.abatch(["tea?"] * 8)
    assert [answer.content for answer in answers] == ["Hi there"] * 8


async def test_a_model_that_there_is_not_is_the_clients_own_error(house: Served, ada: str) -> None:
    nobody = ChatOpenAI(model="nobody", base_url=f"{house.url}/v1", api_key=SecretStr(ada), max_retries=0)
    with pytest.raises(NotFoundError, match="nobody") as caught:
        await nobody.ainvoke("tea?")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
