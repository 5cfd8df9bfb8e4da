"""Answers of turns whose clients come and go."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import anyio

from tests.interfaces.http.raw import CHAT, request, wire
from tests.interfaces.http.serving import Served
from tests.upstream import Upstream


async def test_a_key_whose_client_left_before_its_turn_began_is_free_for_another_try(
    house: Served, ada: str, up: Upstream
) -> None:
    body = {"model": "plain", "messages": [{"role": "user", "content": "tea?"}], "stream": True}
    sent = request("POST", CHAT, ada, body, idempotency_key="left early")
    file = house.service.settings.database.url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # so that the key is taken only after its client has left
        async with wire(house) as talk:
            await talk.send(sent)
            await anyio.sleep(0.3)
        await anyio.sleep(0.3)
        other.execute("COMMIT")
    async with wire(house) as talk:
        await talk.send(sent)
        answer = await talk.answer()
    assert answer.events[-1] == "[DONE]"
    assert len(up.requests) == 1
