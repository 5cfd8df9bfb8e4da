"""The line that each request leaves in the log."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from cozy.cli.json_logs import fields
from tests.interfaces.http.raw import CHAT, request, wire
from tests.interfaces.http.serving import Served, served
from tests.upstream import Answer, Hold, Upstream, plain, says, upstream

HELLO = {"model": "mia", "messages": [{"role": "user", "content": "hello"}]}
HANDSHAKE = {"connection": "upgrade", "upgrade": "websocket", "sec_websocket_version": "13"}


@pytest.fixture
async def model() -> AsyncIterator[Upstream]:
    async with upstream(default=says("Hi", " there")) as server:
        yield server


@pytest.fixture
async def house(
    tmp_path: Path, sqlite_url: str, model: Upstream, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Served]:
    caplog.set_level(logging.INFO, "cozy")
    async with served(
        tmp_path, sqlite_url, upstream=model, limits={"per_address": 20}, server={"max_body_bytes": 2048}
    ) as running:
        yield running


async def told(caplog: pytest.LogCaptureFixture, number: int = 1) -> dict[str, Any]:
    """The fields of the last line, once there are `number`: it is written after the answer."""
    with anyio.fail_after(30):
        while len(lines := [r for r in caplog.records if r.getMessage() == "request"]) < number:
            await anyio.sleep(0.01)
    return fields(lines[-1])


async def test_a_turn_tells_which_model_answered(house: Served, caplog: pytest.LogCaptureFixture) -> None:
    async with house.http(await house.key("ada")) as client:
        await client.post(CHAT, json=HELLO)
    line = await told(caplog)
    assert (line["status"], line["engine"], line["model"]) == (200, "house", "house/fake")
    assert "code" not in line


async def test_a_turn_whose_model_is_away_tells_which_one(
    house: Served, model: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    model.then(*[plain({"error": {"message": "no"}}, 500)] * 4)
    async with house.http(await house.key("ada")) as client:
        await client.post(CHAT, json=HELLO)
    line = await told(caplog)
    assert (line["status"], line["code"]) == (502, "ENGINE_UNAVAILABLE")
    assert (line["engine"], line["model"], line["stage"]) == ("house", "house/fake", "answer")


async def test_a_client_that_leaves_before_its_answer_gets_499(
    house: Served, model: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    model.then(Answer((Hold("for ever"),)))
    key = await house.key("ada")
    async with wire(house) as talk:
        await talk.send(request("POST", CHAT, key, HELLO))
        await model.reached("for ever")
    line = await told(caplog)
    assert (line["status"], line["route"]) == (499, CHAT)


async def test_a_client_that_leaves_in_the_middle_of_its_body_gets_499(
    house: Served, caplog: pytest.LogCaptureFixture
) -> None:
    key = await house.key("ada")
    async with wire(house) as talk:
        await talk.send(request("POST", CHAT, key, b"{", length=99))
    line = await told(caplog)
    assert (line["status"], line["code"]) == (499, "VALIDATION_CLIENT_LEFT")


@pytest.mark.parametrize("path", [CHAT, "/v1/auth/login"])
async def test_a_body_that_is_too_long_is_told_with_its_route(
    house: Served, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    async with house.http(await house.key("ada")) as client:
        answer = await client.post(path, content=b"x" * 4096)
    assert answer.status_code == 413
    line = await told(caplog)
    assert (line["status"], line["route"], line["code"]) == (413, path, "VALIDATION_TOO_LARGE")


async def test_a_handshake_of_websockets_is_answered_told_and_counted_as_any_request(
    house: Served, caplog: pytest.LogCaptureFixture
) -> None:
    shakes = request("GET", "/v1/realtime", sec_websocket_key="dGhlIHNhbXBsZSBub25jZQ==", **HANDSHAKE)
    statuses: list[int] = []
    for number in range(1, 22):
        async with wire(house) as talk:
            await talk.send(shakes)
            answer = await talk.answer()
            statuses.append(answer.status)
            line = await told(caplog, number)
            assert (line["method"], line["route"], line["status"]) == ("GET", "none", answer.status)
            assert line["request_id"] == answer.headers["x-request-id"]
            assert line["code"] == answer.error["code"]
    assert statuses == [404] * 20 + [429]
