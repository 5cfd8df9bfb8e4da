"""A server that is killed in the middle of its work: what a client was told is finished is on disk, whole."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import httpx2
from sqlalchemy import select

from cozy.storage.database import open_database
from cozy.storage.tables import messages
from tests.cli.projects import key_of, project
from tests.cli.serving import Running, running
from tests.upstream import says, upstream

TURNS = 120
TOLD = 36
"""So many clients have seen the end of their turn when the server is killed."""


class Clients:
    """Many at once, each with one turn; those who saw its end tell its id."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client
        self.told: set[str] = set()
        self.enough = anyio.Event()

    async def ask(self, number: int) -> None:
        stream = number % 2 == 0
        body = {
            "model": "mia",
            "messages": [{"role": "user", "content": f"question {number}"}],
            "stream": stream,
            "cozy": {"session_id": "new"},
        }
        try:
            answer = await self._client.post("/v1/chat/completions", json=body)
        except httpx2.HTTPError:
            return
        # on a busy machine a turn may take too long to be kept: nobody was told that it is finished
        if answer.status_code != 200 or (stream and not answer.text.endswith("data: [DONE]\n\n")):
            return
        values = answer.text.split("data: ")[-2] if stream else answer.text  # the chunk before `[DONE]`
        self.told.add(json.loads(values)["cozy"]["turn_id"])
        if len(self.told) >= TOLD:
            self.enough.set()


@asynccontextmanager
async def clients_of(server: Running, key: str) -> AsyncGenerator[Clients]:
    port = await anyio.to_thread.run_sync(lambda: server.port)
    async with httpx2.AsyncClient(
        base_url=f"http://127.0.0.1:{port}",
        headers={"authorization": f"Bearer {key}"},
        timeout=60,
        limits=httpx2.Limits(max_connections=TURNS),
    ) as client:
        yield Clients(client)


async def stored(url: str) -> dict[str, list[tuple[str, str, str]]]:
    """Turn → role, status and words of its messages."""
    columns = (messages.c.turn_id, messages.c.role, messages.c.status, messages.c.content)
    statement = select(*columns).order_by(messages.c.session_id, messages.c.position)
    async with open_database(url) as database:
        rows = await database.read(lambda connection: connection.execute(statement).all())
    turns = defaultdict[str, list[tuple[str, str, str]]](list)
    for turn, *message in rows:
        turns[str(turn)].append(tuple(message))
    return turns


async def test_a_killed_server_has_kept_every_turn_that_it_said_was_finished(
    tmp_path: Path, database_url: str
) -> None:
    key = await key_of(database_url)
    serve = ("-m", "cozy", "serve", "--port", "0")
    async with upstream(default=says("Hi", " there")) as model:
        project(tmp_path, model.base_url, database_url)
        with running(serve, tmp_path) as server:
            async with clients_of(server, key) as clients, anyio.create_task_group() as tasks:
                for number in range(TURNS):
                    tasks.start_soon(clients.ask, number)
                with anyio.fail_after(60):
                    await clients.enough.wait()
                server.process.kill()
        turns = await stored(database_url)
        assert TOLD <= len(clients.told) < TURNS, "some were under way"
        for turn in clients.told:
            whole = [("user", "complete"), ("assistant", "complete")]
            assert [message[:2] for message in turns[turn]] == whole
            assert turns[turn][1][2] == "Hi there"
        for turn, said in turns.items():
            assert [message[0] for message in said] == ["user", "assistant"], f"half of {turn}"
        with running(serve, tmp_path) as server:
            async with clients_of(server, key) as again:
                await again.ask(1)
        assert len(again.told) == 1
