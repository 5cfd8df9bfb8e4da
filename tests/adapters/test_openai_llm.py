"""The adapter against real sockets, through the real SDK."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from cozy.adapters.model_servers import OpenAIServer
from cozy.adapters.openai_clients import OpenAIClients, openai_clients
from cozy.adapters.openai_llm import OpenAILLM
from cozy.errors import (
    EngineAuthError,
    EngineError,
    EngineInvalidRequest,
    EngineRateLimited,
    EngineTimeout,
    EngineUnavailable,
)
from cozy.ports.llm import Chunk, FinishChunk, LLMRequest, TextChunk, ToolCallChunk
from cozy.ports.tools import ToolSpec
from cozy.turn import Message, Sampling
from cozy.usage import Usage
from tests.upstream import Answer, Cut, Hold, Upstream, calls, chunk, plain, says, sse, streams, upstream

KEY = "sk-very-secret"
REQUEST = LLMRequest("openai/fake", (Message("system", "简短。"), Message("user", "你好")))


@pytest.fixture
async def clients() -> AsyncIterator[OpenAIClients]:
    async with openai_clients() as clients:
        yield clients


@pytest.fixture
async def server() -> AsyncIterator[Upstream]:
    async with upstream() as server:
        yield server


@pytest.fixture
def llm(clients: OpenAIClients, server: Upstream) -> OpenAILLM:
    return model(clients, server)


def model(clients: OpenAIClients, server: Upstream, **fields: Any) -> OpenAILLM:
    return OpenAILLM(OpenAIServer("openai", server.base_url, KEY, **fields), clients)


async def answer(llm: OpenAILLM, request: LLMRequest = REQUEST) -> list[Chunk]:
    with anyio.fail_after(30):
        async with llm.stream(request) as chunks:
            return [chunk async for chunk in chunks]


async def failure(llm: OpenAILLM, request: LLMRequest = REQUEST) -> tuple[str, EngineError]:
    """The words before the error, and the error."""
    words = ""

    async def listen() -> None:
        nonlocal words
        async with llm.stream(request) as chunks:
            async for chunk in chunks:
                words += chunk.text if isinstance(chunk, TextChunk) else ""

    with anyio.fail_after(30), pytest.raises(EngineError) as caught:
        await listen()
    assert KEY not in str(caught.value)
    return words, caught.value


async def test_an_answer_streams(llm: OpenAILLM, server: Upstream) -> None:
    server.then(says("你", "好", "！"))
    *words, last = await answer(llm)
    assert words == [TextChunk("你"), TextChunk("好"), TextChunk("！")]
    assert isinstance(last, FinishChunk)
    assert (last.reason, last.usage, last.model) == ("stop", Usage(9, 4), "fake")
    assert last.extra["request_id"] == "req_1"


async def test_the_request_is_openais(llm: OpenAILLM, server: Upstream) -> None:
    server.then(says("好"))
    tool = ToolSpec("mcp/weather/forecast", "Tells the weather.", {"type": "object"})
    request = LLMRequest(
        "openai/fake", REQUEST.messages, tools=(tool,), sampling=Sampling(temperature=0, extra={"top_k": 3})
    )
    await answer(llm, request)
    (received,) = server.requests
    assert (received.method, received.path) == ("POST", "/v1/chat/completions")
    assert received.headers["authorization"] == f"Bearer {KEY}"
    assert received.body == {
        "model": "fake",
        "stream": True,
        "messages": [{"role": "system", "content": "简短。"}, {"role": "user", "content": "你好"}],
        "stream_options": {"include_usage": True},
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "mcp_weather_forecast",
                    "description": "Tells the weather.",
                    "parameters": {"type": "object"},
                },
            }
        ],
        "temperature": 0,
        "top_k": 3,
    }


async def test_words_come_as_they_are_said(llm: OpenAILLM, server: Upstream) -> None:
    server.then(Answer((sse(chunk("你")), Hold("on"), sse(chunk("好", finish="stop"), "[DONE]"))))
    with anyio.fail_after(30):
        async with llm.stream(REQUEST) as chunks:
            assert await anext(chunks) == TextChunk("你")
            await server.reached("on")
            server.open("on")
            assert await anext(chunks) == TextChunk("好")


async def test_a_call_of_a_tool_comes_back_under_our_name(llm: OpenAILLM, server: Upstream) -> None:
    server.then(calls(("mcp_weather_forecast", '{"city":"京都"}'), ("calculator", "")))
    tools = tuple(ToolSpec(name, "", {}) for name in ("mcp/weather/forecast", "calculator"))
    *pieces, last = await answer(llm, LLMRequest("openai/fake", REQUEST.messages, tools=tools))
    assert pieces == [
        ToolCallChunk(0, "call_1", "mcp/weather/forecast", '{"city":"京都"}'),
        ToolCallChunk(1, "call_2", "calculator", ""),
        ToolCallChunk(1, arguments="{}"),
    ]
    assert isinstance(last, FinishChunk)
    assert last.reason == "tool_calls"


async def test_bytes_may_be_cut_anywhere(llm: OpenAILLM, server: Upstream) -> None:
    data = b": ping\r\n\r\n" + sse(chunk("你好👋"), chunk(finish="stop"), "[DONE]")
    server.then(Answer(tuple(data[i : i + 7] for i in range(0, len(data), 7))))
    assert (await answer(llm))[0] == TextChunk("你好👋")


async def test_a_server_that_does_not_stream_is_taken_at_its_word(llm: OpenAILLM, server: Upstream) -> None:
    whole = {"choices": [{"message": {"content": "好"}, "finish_reason": "stop"}], "model": "fake"}
    server.then(plain(whole))
    assert (await answer(llm))[0] == TextChunk("好")


async def test_a_connection_is_used_again(llm: OpenAILLM, server: Upstream) -> None:
    server.then(says("a"), plain({"error": {"message": "busy"}}, 503), says("b"))
    await answer(llm)
    await failure(llm)
    await answer(llm)
    assert server.connections == 1


async def test_leaving_closes_the_connection_at_once(llm: OpenAILLM, server: Upstream) -> None:
    server.then(Answer((sse(chunk("你")), Hold())), says("好"))
    async with llm.stream(REQUEST) as chunks:
        async for _ in chunks:
            break
    await server.left()
    await answer(llm)
    assert server.connections == 2


async def test_a_cancelled_reader_closes_the_connection_at_once(llm: OpenAILLM, server: Upstream) -> None:
    server.then(Answer((sse(chunk("你")), Hold("silence"))))

    async def read() -> None:
        async with llm.stream(REQUEST) as chunks:
            async for _ in chunks:
                pass

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await server.reached("silence")
        tasks.cancel_scope.cancel()
    await server.left()


async def test_a_natively_cancelled_reader_closes_the_connection_at_once(
    llm: OpenAILLM, server: Upstream
) -> None:
    server.then(Answer((sse(chunk("你")), Hold("silence"))))
    task = asyncio.create_task(answer(llm))
    await server.reached("silence")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await server.left()


async def test_a_reader_cancelled_before_the_first_byte_closes_the_connection(
    llm: OpenAILLM, server: Upstream
) -> None:
    server.then(Answer((Hold("thinking"),), raw=True))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(answer, llm)
        await server.reached("thinking")
        tasks.cancel_scope.cancel()
    await server.left()


async def test_an_error_of_the_reader_closes_the_connection_and_passes_through(
    llm: OpenAILLM, server: Upstream
) -> None:
    server.then(Answer((sse(chunk("你")), Hold())))

    async def stumble() -> None:
        async with llm.stream(REQUEST) as chunks:
            async for _ in chunks:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await stumble()
    await server.left()


async def test_nothing_is_left_running(llm: OpenAILLM, server: Upstream) -> None:
    server.then(says("a"), Answer((sse(chunk("你")), Hold())), Answer((sse(chunk("你")), Cut())))
    before = asyncio.all_tasks()
    await answer(llm)
    async with llm.stream(REQUEST) as chunks:
        await anext(chunks)
    await failure(llm)
    await anyio.wait_all_tasks_blocked()
    new = {task.get_name() for task in asyncio.all_tasks() - before}
    assert not {name for name in new if "upstream" not in name and "_watch" not in name}


async def test_an_answer_that_is_whole_does_not_wait_for_a_server_that_goes_on(
    llm: OpenAILLM, server: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cozy.adapters.openai_llm.AFTER_FINISH_S", 0.01)
    monkeypatch.setattr("cozy.adapters.openai_llm.AFTER_DONE_S", 0.01)
    server.then(
        Answer((sse(chunk("a", finish="stop")), Hold())),
        Answer((sse(chunk("a", finish="stop"), "[DONE]"), Hold())),
        Answer((sse(chunk("a", finish="stop")), Cut())),
    )
    for _ in range(3):
        words, last = await answer(llm)
        assert words == TextChunk("a")
        assert isinstance(last, FinishChunk)
        assert last.reason == "stop"


BAD = {"error": {"message": f"no, {KEY}", "code": "bad", "param": "x"}}


@pytest.mark.parametrize(
    ("script", "kind", "said"),
    [
        pytest.param(plain(BAD, 400), EngineInvalidRequest, "refused the request for `fake` (400)", id="400"),
        pytest.param(plain(BAD, 401), EngineAuthError, "refused the API key", id="401"),
        pytest.param(plain(BAD, 403), EngineAuthError, "does not let this key use `fake`", id="403"),
        pytest.param(
            plain("nginx", 404), EngineInvalidRequest, "no chat completions at", id="404 of a proxy"
        ),
        pytest.param(
            plain({"error": {"message": "no model"}}, 404),
            EngineInvalidRequest,
            "has no model `fake`",
            id="404",
        ),
        pytest.param(plain({"detail": "x"}, 422), EngineInvalidRequest, "(422): x", id="422"),
        pytest.param(plain(BAD, 500), EngineUnavailable, "failed (500)", id="500"),
        pytest.param(plain("<title>Bad Gateway</title>", 502), EngineUnavailable, "Bad Gateway", id="502"),
        pytest.param(plain("<title>Login</title>"), EngineUnavailable, "a web page: Login", id="a page"),
        pytest.param(plain(BAD), EngineUnavailable, "no, …", id="an error under 200"),
        pytest.param(streams(BAD), EngineUnavailable, "no, …", id="an error event"),
        pytest.param(
            streams(finish=None, usage=False), EngineUnavailable, "before the first word", id="empty"
        ),
        pytest.param(Answer((Cut(),)), EngineUnavailable, "broke", id="cut before the body"),
        pytest.param(Answer((Cut(),), raw=True), EngineUnavailable, "broke", id="cut before the head"),
        pytest.param(
            Answer((b"SSH-2.0-OpenSSH\r\n", Cut()), raw=True), EngineUnavailable, "broke", id="no HTTP"
        ),
    ],
)
async def test_what_is_no_answer_is_an_error_before_the_first_word(
    llm: OpenAILLM, server: Upstream, script: Answer, kind: type[EngineError], said: str
) -> None:
    server.then(script)
    words, error = await failure(llm)
    assert words == ""
    assert type(error) is kind
    assert said in error.message
    assert len(server.requests) == 1, "retries are the engine's"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        pytest.param(Answer((sse(chunk("你")), Cut())), "broke off in the middle of the answer", id="cut"),
        pytest.param(Answer((sse(chunk("你")),)), "stopped in the middle of the answer", id="no end"),
        pytest.param(Answer((sse(chunk("你"), "[DONE]"),)), "stopped in the middle", id="no finish_reason"),
        pytest.param(Answer((sse(chunk("你"), BAD),)), "no, …", id="an error event"),
        pytest.param(Answer((sse(chunk("你")), b"data: {\n\n")), "no JSON", id="nonsense"),
    ],
)
async def test_an_answer_that_breaks_off_is_an_error_after_its_words(
    llm: OpenAILLM, server: Upstream, script: Answer, said: str
) -> None:
    server.then(script)
    words, error = await failure(llm)
    assert words == "你"
    assert type(error) is EngineUnavailable
    assert said in error.message


async def test_too_fast_tells_how_long_to_wait(llm: OpenAILLM, server: Upstream) -> None:
    server.then(plain({"error": {"message": "slow down"}}, 429, retry_after="2"))
    _, error = await failure(llm)
    assert type(error) is EngineRateLimited
    assert error.retry_after_s == 2


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(Answer((Hold(),), raw=True), id="before the head"),
        pytest.param(Answer((Hold(),)), id="before the first word"),
        pytest.param(Answer((sse(chunk("你")), Hold())), id="after a word"),
    ],
)
async def test_a_silent_server_times_out(clients: OpenAIClients, server: Upstream, script: Answer) -> None:
    server.then(script)
    _, error = await failure(model(clients, server, read_timeout_s=0.05))
    assert type(error) is EngineTimeout
    assert "was silent for 0.05 s" in error.message
    await server.left()


async def test_a_server_that_is_not_there(clients: OpenAIClients, free_port: int) -> None:
    llm = OpenAILLM(OpenAIServer("ollama", f"http://127.0.0.1:{free_port}/v1"), clients)
    _, error = await failure(llm)
    assert type(error) is EngineUnavailable
    assert error.message == f"ollama: nothing listens at http://127.0.0.1:{free_port}/v1"
    assert error.hint is not None
    assert "is Ollama running" in error.hint


@pytest.fixture
def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


async def test_a_host_that_does_not_exist(clients: OpenAIClients) -> None:
    _, error = await failure(OpenAILLM(OpenAIServer("x", "http://cozy.invalid/v1", KEY), clients))
    assert type(error) is EngineUnavailable
    assert error.message == "x: the host `cozy.invalid` is not known"


async def test_a_server_without_tls(clients: OpenAIClients) -> None:
    async def refuse(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    url = f"https://127.0.0.1:{listener.extra(SocketAttribute.local_port)}/v1"
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, refuse)
        _, error = await failure(OpenAILLM(OpenAIServer("x", url, KEY), clients))
        tasks.cancel_scope.cancel()
    assert type(error) is EngineUnavailable
    assert "no safe connection to `127.0.0.1`" in error.message


async def test_a_server_without_a_key_is_never_sent_openais(
    clients: OpenAIClients, server: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-the-environment")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-1")
    server.then(says("好"))
    await answer(OpenAILLM(OpenAIServer("ollama", server.base_url), clients))
    sent = str(server.requests[0].headers)
    assert not any(secret in sent for secret in ("sk-from-the-environment", "org-1", "proj-1"))


async def test_headers_of_the_configuration_are_sent(clients: OpenAIClients, server: Upstream) -> None:
    server.then(says("好"))
    await answer(model(clients, server, headers={"X-Team": "tea"}))
    assert server.requests[0].headers["x-team"] == "tea"


async def test_azure_wants_its_key_and_version_its_own_way(clients: OpenAIClients, server: Upstream) -> None:
    server.then(says("好"))
    url = server.base_url.replace("/v1", "/openai/deployments/mine?api-version=2024-10-21")
    await answer(OpenAILLM(OpenAIServer("azure", url, KEY, flavour="azure"), clients))
    (received,) = server.requests
    assert received.path == "/openai/deployments/mine/chat/completions?api-version=2024-10-21"
    assert received.headers["api-key"] == KEY
    assert "authorization" not in received.headers


async def test_one_client_for_each_server_and_key(clients: OpenAIClients) -> None:
    one = OpenAIServer("a", "http://gpu/v1", "k1")
    same = OpenAIServer("a", "http://gpu/v1", "k1")
    other = OpenAIServer("a", "http://gpu/v1", "k2")
    assert await clients.client(one) is await clients.client(same)
    assert await clients.client(one) is not await clients.client(other)


async def test_many_answers_at_once_do_not_mix(llm: OpenAILLM, server: Upstream) -> None:
    server.then(*(lambda request: says(request.body["messages"][0]["content"], "。") for _ in range(20)))
    heard: dict[str, str] = {}

    async def ask(word: str) -> None:
        got = await answer(llm, LLMRequest("openai/fake", (Message("user", word),)))
        heard[word] = "".join(c.text for c in got if isinstance(c, TextChunk))

    async with anyio.create_task_group() as tasks:
        for i in range(20):
            tasks.start_soon(ask, f"第{i}")
    assert heard == {f"第{i}": f"第{i}。" for i in range(20)}


def test_the_sdk_is_not_loaded_before_it_is_needed() -> None:
    heavy = ("openai", "httpx2", "aiohttp")
    code = f"import sys, cozy.adapters.openai_llm; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_card_of_the_server_is_known_without_asking_it() -> None:
    llm = OpenAILLM(OpenAIServer("openai", "https://api.openai.com/v1"), OpenAIClients())
    assert llm.card("openai/gpt-4o").context_tokens == 128_000
