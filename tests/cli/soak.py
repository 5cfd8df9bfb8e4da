"""A server that clients leave in every way, and what it then still holds.

async with soaked(folder, database_url, concurrency=20, leaves=True) as soak:
    await soak.go(range(60))
    held = await soak.at_rest()
"""

from __future__ import annotations

import gc
import json
import signal
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import asyncpg
import httpx2
import psutil
from sqlalchemy import select

from cozy.storage.database import open_database
from cozy.storage.tables import messages, turn_requests
from tests.cli.leaving import PATIENCE_S, STORED, Client, Outcome, Plan, model_answer, words_of
from tests.cli.projects import key_of, project
from tests.cli.serving import Running, running
from tests.interfaces.http.raw import wire_to
from tests.upstream import Answer, Hold, Upstream, chunk, sse, upstream

_CONNECTION = "worker_serve.<locals>._server_callback"
"""The task of one connection; it ends a moment after its socket."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a server holds on to."""

    tasks: Mapping[str, int]
    objects: int
    memory: int
    clients: int
    """Sockets to clients."""
    idle: int
    """Sockets to the model's server that stand in the pool, for the next request."""
    database: int
    """Connections to the database, or files of it that are open."""
    busy: int
    """Of those, in a transaction (PostgreSQL)."""
    asking: int
    """Requests that the model's server is still answering."""
    turns: int
    waiting: int
    in_flight: int

    @property
    def under_way(self) -> Mapping[str, int]:
        """What has to be 0 when nobody is there."""
        names = ("clients", "busy", "asking", "turns", "waiting", "in_flight")
        connections = self.tasks.get(_CONNECTION, 0)
        return {"connections": connections, **{name: getattr(self, name) for name in names}}


@dataclass(slots=True)
class Soak:
    """A server that is being left."""

    server: Running
    model: Upstream
    database_url: str
    observed: Path
    concurrency: int
    port: int
    client: Client
    leaves: bool
    """Whether clients leave in the middle; else they stay to the end."""
    outcomes: list[Outcome] = field(default_factory=list[Outcome])

    async def go(self, numbers: Iterable[int]) -> None:
        """So many clients, a few at a time."""
        left = iter(numbers)

        async def one_after_another() -> None:
            for number in left:
                self.outcomes.append(await self.client.ask(Plan.of(number, leaves=self.leaves)))

        async with anyio.create_task_group() as tasks:
            for _ in range(self.concurrency):
                tasks.start_soon(one_after_another)

    async def held(self) -> Held:
        figures = await self._metrics()
        told = await self._told()
        process = psutil.Process(self.server.process.pid)
        sockets = [c for c in process.net_connections("tcp") if c.status != "LISTEN"]
        gc.collect()  # of our own
        return Held(
            **told,
            clients=sum(c.laddr[1] == self.port for c in sockets),
            idle=sum(bool(c.raddr) and c.raddr[1] == self.model.port for c in sockets),
            asking=sum(not received.ended.is_set() for received in self.model.requests),
            turns=figures["cozy_turns_running"],
            waiting=figures["cozy_turns_waiting"],
            in_flight=figures["cozy_http_requests_in_flight"] - 1,  # the one that asks
            **await self._database(process, sockets),
        )

    async def at_rest(self, tasks: Mapping[str, int] | None = None) -> Held:
        """What is held once nothing is under way, and just these tasks are left, or those that stay; or after
        a while in which it does not come to that."""
        before, held = None, await self.held()
        with anyio.move_on_after(PATIENCE_S):
            while any(held.under_way.values()) or held.tasks != (tasks or before):
                before = held.tasks
                await anyio.sleep(0.1)
                held = await self.held()
        return held

    async def takes_all(self, places: int) -> list[int]:
        """Statuses of so many turns that are all under way at once, and of one more."""
        statuses: list[int] = []
        with anyio.fail_after(PATIENCE_S):
            async with anyio.create_task_group() as tasks:
                leave = anyio.Event()

                async def stay(number: int) -> None:
                    plan = Plan(number, "plain", "after a word", "closes", 1, held=True, again=False)
                    async with wire_to(self.port) as talk:
                        await talk.send(self.client.asking(plan))
                        status, _ = await talk.head()
                        statuses.append(status)
                        await leave.wait()

                self.model.then(*[Answer((sse(chunk("Hi")), Hold()))] * places)
                for number in range(places):
                    tasks.start_soon(stay, number)
                while len(statuses) < places:
                    await anyio.sleep(0.02)
                tasks.start_soon(stay, places)
                while len(statuses) <= places:
                    await anyio.sleep(0.02)
                leave.set()
        return statuses

    async def _metrics(self) -> dict[str, int]:
        async with httpx2.AsyncClient() as client:
            text = (await client.get(f"http://127.0.0.1:{self.port}/metrics")).text
        lines = (line.split(" ") for line in text.splitlines() if line and line[0] != "#")
        return {line[0]: int(float(line[1])) for line in lines if "{" not in line[0]}

    async def health(self) -> str:
        async with httpx2.AsyncClient() as client:
            return (await client.get(f"http://127.0.0.1:{self.port}/health")).json()["status"]

    async def _told(self) -> dict[str, Any]:
        """What the process says of itself."""
        before = self._lines()
        self.server.tell(signal.SIGUSR1)
        with anyio.fail_after(PATIENCE_S):
            while len(lines := self._lines()) == len(before):
                await anyio.sleep(0.01)
        return json.loads(lines[-1])

    def _lines(self) -> list[str]:
        text = self.observed.read_text("utf-8") if self.observed.exists() else ""
        return text[: text.rfind("\n") + 1].splitlines()

    async def _database(self, process: psutil.Process, sockets: Sequence[Any]) -> dict[str, int]:
        if self.database_url.startswith("sqlite"):
            path = self.database_url.removeprefix("sqlite:///")
            return {"database": sum(file.path == path for file in process.open_files()), "busy": 0}
        connection = await asyncpg.connect(self.database_url)
        try:
            rows = await connection.fetch(
                "SELECT state FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND application_name = 'cozy'"
            )
        finally:
            await connection.close()
        return {"database": len(rows), "busy": sum(row["state"] != "idle" for row in rows)}


@asynccontextmanager
async def soaked(folder: Path, database_url: str, *, concurrency: int, leaves: bool) -> AsyncGenerator[Soak]:
    """A server over a migrated database, with as many places for turns as there are clients at once."""
    key = await key_of(database_url)
    observed, back = folder / "observed", set[int]()
    places = f"max_turns = {concurrency}\nqueue = 0\n"
    async with upstream(default=partial(model_answer, leaves=leaves, back=back)) as model:
        project(folder, model.base_url, database_url, server=places)
        command = ("-m", "tests.cli.observed_server", "--port", "0", "--log-format", "json")
        with running(command, folder, OBSERVED=str(observed)) as server:
            port = await anyio.to_thread.run_sync(lambda: server.port)
            sessions = [await _session(port, key) for _ in range(10)]
            client = Client(port, key, sessions, back)
            yield Soak(server, model, database_url, observed, concurrency, port, client, leaves)


async def _session(port: int, key: str) -> str:
    headers = {"authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:
        made = await client.post("/v1/sessions", json={"personality_id": "mia", "title": "a"})
        return made.json()["session_id"]


# -- what is on disk ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stored:
    """How turns ended, as the database has it."""

    turns: Counter[str]
    """Status → how many."""
    claims: Counter[str]
    """State of a client's key → how many."""
    wrong: Sequence[str]
    """What is not as a client was told."""


async def stored(url: str, outcomes: Sequence[Outcome]) -> Stored:
    """Hold what clients have seen against what was kept."""
    columns = (messages.c.turn_id, messages.c.role, messages.c.status, messages.c.content)
    said_ = select(*columns).order_by(messages.c.session_id, messages.c.position)
    async with open_database(url) as database:
        rows = await database.read(lambda connection: connection.execute(said_).all())
        states = await database.read(
            lambda connection: connection.execute(select(turn_requests.c.state)).scalars().all()
        )
    turns: dict[str, list[tuple[str, str, str]]] = {}
    for turn, *message in rows:
        turns.setdefault(str(turn), []).append(tuple(message))
    kept = {said[0][2]: said for said in turns.values()}
    wrong = [words for outcome in outcomes for words in _wrong(outcome, kept)]
    wrong += [f"half a turn: {said}" for said in turns.values() if said[0][0] != "user" or len(said) > 2]
    return Stored(Counter(said[0][1] for said in turns.values()), Counter(states), wrong)


def _wrong(outcome: Outcome, kept: Mapping[str, Sequence[tuple[str, str, str]]]) -> Iterator[str]:
    plan = outcome.plan
    if outcome.status not in (None, 200):
        yield f"{plan} was answered {outcome.status}"
    if plan.kind not in STORED:
        return
    said = kept.get(f"stream {plan.number}")
    if said is None:
        if outcome.heard:
            yield f"{plan} heard {outcome.heard!r}, and nothing is kept"
        return
    status, reply = said[0][1], said[-1][2] if len(said) == 2 else ""
    if not plan.sends_all:
        yield f"{plan} has not asked, and {said} is kept"
    if not reply.startswith(outcome.heard.strip()):
        yield f"{plan} heard {outcome.heard!r}, and {reply!r} is kept"
    whole = reply == "".join(
        words_of(plan.number)
    )  # one who leaves after the last word may leave before the end
    if status == "failed" or (status == "complete" and not whole) or (outcome.done and status != "complete"):
        yield f"{plan} is kept as {status}: {reply!r}"
