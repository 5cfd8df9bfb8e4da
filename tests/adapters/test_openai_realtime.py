"""The adapter against real sockets, through the real SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cozy.adapters.model_servers import OpenAIServer
from cozy.adapters.openai_clients import OpenAIClients, openai_clients
from cozy.adapters.openai_realtime import OpenAIRealtime
from cozy.errors import EngineAuthError, EngineError, EngineRateLimited, EngineTimeout, EngineUnavailable
from tests.upstream import Answer, Cut, Hold, Script, plain, upstream

KEY = "sk-very-secret"


@pytest.fixture
async def clients() -> AsyncIterator[OpenAIClients]:
    async with openai_clients() as clients:
        yield clients


async def test_a_token_is_made_with_the_key_and_given_without_it(clients: OpenAIClients) -> None:
    async with upstream(plain({"value": "ek_123", "expires_at": 1, "session": {}})) as server:
        tokens = OpenAIRealtime(OpenAIServer("openai", server.base_url, KEY), clients)
        lent = await tokens.token()
    [asked] = server.requests
    assert (asked.method, asked.path) == ("POST", "/v1/realtime/client_secrets")
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.body == {
        "session": {
            "type": "realtime",
            "model": "gpt-realtime",
            "audio": {"input": {"transcription": {"model": "whisper-1"}}},
        }
    }
    assert (lent.value, lent.model) == ("ek_123", "gpt-realtime")
    assert lent.url == f"ws://127.0.0.1:{server.port}/v1/realtime?model=gpt-realtime"
    assert KEY not in repr(lent)
    assert "ek_123" not in repr(lent)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(plain({"error": {"message": "no"}}, 401), EngineAuthError, id="refuses the key"),
        pytest.param(plain({"error": {"message": "slow"}}, 429), EngineRateLimited, id="is too busy"),
        pytest.param(plain({"error": {"message": "oops"}}, 500), EngineUnavailable, id="fails"),
        pytest.param(plain({"value": "sk-real"}), EngineUnavailable, id="gives a key in place of a token"),
        pytest.param(plain({"nothing": 1}), EngineUnavailable, id="gives nothing"),
        pytest.param(plain(["ek_1"]), EngineUnavailable, id="gives a list"),
        pytest.param(plain("<title>gateway</title>"), EngineUnavailable, id="gives a page"),
        pytest.param(Answer((b"{", Cut())), EngineUnavailable, id="breaks off"),
    ],
)
async def test_a_server_that_lends_no_token(
    clients: OpenAIClients, answer: Script, expected: type[EngineError]
) -> None:
    async with upstream(answer) as server:
        tokens = OpenAIRealtime(OpenAIServer("openai", server.base_url, KEY), clients)
        with pytest.raises(expected) as caught:
            await tokens.token()
    assert KEY not in str(caught.value)
    assert "sk-real" not in str(caught.value)


async def test_a_server_that_does_not_answer_is_not_waited_for(clients: OpenAIClients) -> None:
    async with upstream(Answer((Hold(),))) as server:
        tokens = OpenAIRealtime(OpenAIServer("openai", server.base_url, KEY), clients, within_s=0.1)
        with pytest.raises(EngineTimeout):
            await tokens.token()
