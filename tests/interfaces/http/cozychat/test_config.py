"""Rows 18 to 20: what a voice call needs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from cozy.errors import EngineAuthError, EngineError, EngineRateLimited, EngineTimeout
from cozy.interfaces.http.app import open_http
from cozy.ports.realtime import RealtimeToken, RealtimeTokens
from cozy.service import extensions
from tests.interfaces.http.serving import Served


class Lender:
    """Lends tokens, or fails."""

    error: EngineError | None = None

    async def token(self) -> RealtimeToken:
        if self.error is not None:
            raise self.error
        return RealtimeToken("ek_1", "gpt-realtime", "wss://api.example.com/v1/realtime?model=gpt-realtime")


@pytest.fixture
def lender() -> Lender:
    return Lender()


@pytest.fixture
async def caller(house: Served, lender: RealtimeTokens) -> AsyncIterator[httpx2.AsyncClient]:
    """Somebody at a server that lends tokens."""
    service = replace(house.service, realtime=lender)
    headers = {"authorization": f"Bearer {await house.token('ann')}"}
    async with open_http(service, extensions()) as app:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://here", headers=headers) as client:
            yield client


async def test_the_address_is_this_servers_own_and_there_is_no_key(
    house: Served, ann: httpx2.AsyncClient
) -> None:
    response = await ann.get("/v1/config/openai-config")
    assert response.json() == {"api_key": "", "base_url": f"{house.url}/v1"}


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        pytest.param({"x-forwarded-proto": "https"}, "https://chat.example.com/v1", id="behind TLS"),
        pytest.param(
            {"x-forwarded-proto": "https", "x-forwarded-prefix": "/api/"},
            "https://chat.example.com/api/v1",
            id="under a prefix",
        ),
        pytest.param(
            {"x-forwarded-host": "other.example.com, x"}, "http://other.example.com/v1", id="renamed"
        ),
        pytest.param({"x-forwarded-proto": "javascript"}, "http://chat.example.com/v1", id="no scheme"),
        pytest.param({"x-forwarded-prefix": "/a b<c>"}, "http://chat.example.com/v1", id="no prefix"),
        pytest.param({"host": "[::1]:8000"}, "http://[::1]:8000/v1", id="IPv6"),
    ],
)
async def test_the_address_is_the_one_that_the_client_knows(
    ann: httpx2.AsyncClient, headers: dict[str, str], address: str
) -> None:
    response = await ann.get("/v1/config/openai-config", headers={"host": "chat.example.com", **headers})
    assert response.json()["base_url"] == address


async def test_the_settings_of_a_call(ann: httpx2.AsyncClient) -> None:
    assert (await ann.get("/v1/config/realtime-config")).json() == {
        "voice": "shimmer",
        "model": "gpt-realtime",
        "temperature": 0.8,
        "max_response_output_tokens": 4096,
        "input_audio_transcription": {"model": "whisper-1"},
        "transport": {"type": "websocket"},
        "websocket": {
            "ping_interval": 30,
            "ping_timeout": 10,
            "reconnect_interval": 5,
            "max_reconnect_attempts": 5,
            "audio_buffer": {"min_size": 3.0, "max_size": 5.0},
        },
    }


async def test_a_token_is_lent(caller: httpx2.AsyncClient) -> None:
    response = await caller.post("/v1/config/realtime-token")
    assert response.status_code == 200
    assert response.json() == {
        "token": "ek_1",
        "url": "wss://api.example.com/v1/realtime?model=gpt-realtime",
        "model": "gpt-realtime",
    }


@pytest.mark.parametrize(
    "error",
    [
        EngineAuthError("openai", "refused the key sk-secret"),
        EngineRateLimited("openai", "is too busy", retry_after_s=3),
        EngineTimeout("openai", "did not answer"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_an_upstream_that_refuses_is_told_as_such_whatever_it_says(
    caller: httpx2.AsyncClient, lender: Any, error: EngineError
) -> None:
    lender.error = error
    response = await caller.post("/v1/config/realtime-token")
    assert response.status_code == 502
    assert response.json()["detail"] == response.json()["message"]
    assert "sk-secret" not in response.text


async def test_without_a_key_of_openais_there_are_no_calls(ann: httpx2.AsyncClient) -> None:
    response = await ann.post("/v1/config/realtime-token")
    assert response.status_code == 501
    assert response.json()["error"]["code"] == "RESOURCE_NOT_IMPLEMENTED"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/config/openai-config"),
        ("GET", "/v1/config/realtime-config"),
        ("POST", "/v1/config/realtime-token"),
    ],
)
async def test_a_stranger_is_told_nothing(nobody: httpx2.AsyncClient, method: str, path: str) -> None:
    assert (await nobody.request(method, path)).status_code == 401
