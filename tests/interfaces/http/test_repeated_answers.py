"""A repeated request is answered as it was the first time."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.interfaces.http.conftest import TALK, UNLIMITED, personality
from tests.interfaces.http.serving import Served, served
from tests.upstream import Upstream

MEMORY = """\
  memory:
    type: fetch_context
    source: memory
    timeout: 0.001ms
    on_error: degrade
"""
FORGETFUL = TALK.replace("  budget:\n", f"{MEMORY}  budget:\n")


@pytest.fixture
async def forgetful(tmp_path: Path, sqlite_url: str, up: Upstream) -> AsyncIterator[Served]:
    mia = personality("mia").replace("pipeline: talk", "pipeline: forgetful")
    async with served(
        tmp_path,
        sqlite_url,
        upstream=up,
        personalities={"mia": mia},
        pipelines={"forgetful": FORGETFUL},
        limits=UNLIMITED,
    ) as house:
        yield house


async def asked(client: httpx2.AsyncClient, *, stream: bool = False) -> Any:
    body = {"model": "mia", "messages": [{"role": "user", "content": "tea?"}], "stream": stream}
    told = await client.post("/v1/chat/completions", json=body, headers={"idempotency-key": "k1"})
    assert told.status_code == 200, told.text
    if not stream:
        return told.json()
    return [json.loads(line[6:]) for line in told.text.splitlines() if line.startswith("data: {")]


async def test_it_has_the_id_the_words_and_the_degradations_of_the_first(
    forgetful: Served, up: Upstream
) -> None:
    async with forgetful.http(await forgetful.key("ada")) as client:
        first, again = await asked(client), await asked(client)
    assert (again["id"], again["choices"], again["usage"]) == (first["id"], first["choices"], first["usage"])
    assert first["cozy"]["degraded"] is True
    [reason] = first["cozy"]["degrade_reasons"]
    assert (reason["stage"], reason["code"]) == ("memory", "ENGINE_TIMEOUT")
    assert (again["cozy"]["degraded"], again["cozy"]["repeated"]) == (True, True)
    [kept] = again["cozy"]["degrade_reasons"]
    assert (kept["stage"], kept["code"], kept["elapsed_ms"] > 0) == ("memory", "ENGINE_TIMEOUT", True)
    assert len(up.requests) == 1


async def test_a_stream_that_is_told_again_has_one_id_too(forgetful: Served) -> None:
    async with forgetful.http(await forgetful.key("ada")) as client:
        first, again = await asked(client, stream=True), await asked(client, stream=True)
    assert {chunk["id"] for chunk in (*first, *again)} == {first[0]["id"]}
    assert again[0]["choices"][0]["delta"]["role"] == "assistant"
