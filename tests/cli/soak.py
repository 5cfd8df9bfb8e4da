"""Clients that leave a server in the middle, in every way, and what the server then still holds.

async with soaked(folder, database_url, concurrency=20) as soak:
    await soak.go(range(60))
    held = await soak.at_rest()
"""

from __future__ import annotations

import gc
import json
import re
import signal
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Literal

import anyio
import anyio.to_thread
import asyncpg
import httpx2
import psutil
from sqlalchemy import select

from cozy.storage.database import open_database
from cozy.storage.tables import messages, turn_requests
from tests.cli.projects import key_of, project
from tests.cli.serving import Running, running
from tests.interfaces.http.raw import CHAT, Wire, request, wire_to
from tests.upstream import Answer, Hold, Received, Upstream, chunk, sse, upstream, usage_chunk

WORDS = 12
"""In a whole answer."""
PATIENCE_S = 20.0
Place = Literal[
    "before the request",
    "in the request's head",
    "in the request's body",
    "before the answer",
    "in the answer's head",
    "after the answer's head",
    "after a word",
    "after [DONE]",
    "at the end",
]
Way = Literal["closes", "resets", "half closes"]
Kind = Literal["plain", "two answers", "new session", "old session", "key", "CozyChat"]
PLACES: Sequence[Place] = Place.__args__
WAYS: Sequence[Way] = Way.__args__
KINDS: Sequence[Kind] = Kind.__args__
STORED: Sequence[Kind] = ("new session", "old session", "CozyChat")
"""Whose words are kept as messages."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one client does; the same for a number whenever it is asked for."""

    number: int
    kind: Kind
    place: Place
    way: Way
    after: int
    """Words, or bytes of a head."""
    held: bool
    """The model says no more than the client waits for, and never ends; else it says everything at once."""
    again: bool
    """A client with a key comes back with it, and stays to the end."""

    @staticmethod
    def of(number: int, *, leaves: bool) -> Plan:
        dice = Random(f"stream {number}")
        return Plan(
            number=number,
            kind=dice.choice(KINDS),
            place=dice.choice(PLACES) if leaves else "at the end",
            way=dice.choice(WAYS) if leaves else "closes",
            after=dice.randrange(1, WORDS),
            held=leaves and dice.random() < 0.6,
            again=leaves and dice.random() < 0.5,
        )

    @property
    def sends_all(self) -> bool:
        return self.place not in ("before the request", "in the request's head", "in the request's body")


@dataclass(slots=True)
class Outcome:
    """What a client saw."""

    plan: Plan
    status: int | None = None
    heard: str = ""
    done: bool = False
    """It saw `[DONE]`."""


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
        return {name: getattr(self, name) for name in names}


def words_of(number: int) -> list[str]:
    return [f"{number}.{n} " for n in range(1, WORDS + 1)]


def model_answer(received: Received, *, leaves: bool, back: Container[int]) -> Answer:
    """The model's part: the user's words tell it whom it speaks to; those who are `back` hear everything."""
    number = int(received.body["messages"][-1]["content"].removeprefix("stream "))
    plan = Plan.of(number, leaves=leaves)
    words = [sse(chunk(word)) for word in words_of(number)]
    if plan.held and number not in back:
        match plan.place:
            case "before the answer":
                return Answer((Hold(),))
            case "in the answer's head" | "after the answer's head" | "after a word":
                return Answer((*words[: plan.after], Hold()))
            case _:
                pass
    return Answer((*words, sse(chunk(finish="stop")), sse(usage_chunk()), sse("[DONE]")))


# -- one client --------------------------------------------------------------------------------------------

_EVENT = re.compile(rb"data: (\{.*\})\n")


def heard_in(raw: bytes) -> str:
    """The words of the first answer in what came over the wire; a chunk's frame never cuts an event."""
    said = ""
    for found in _EVENT.finditer(raw):
        for choice in json.loads(found[1]).get("choices", ()):
            if choice["index"] == 0:
                said += choice["delta"].get("content") or ""
    return said


@dataclass(slots=True)
class Client:
    """One who asks, and leaves as planned."""

    port: int
    key: str
    sessions: Sequence[str]
    back: set[int]
    """Those who ask a second time."""

    def asking(self, plan: Plan) -> bytes:
        body: dict[str, Any] = {
            "messages": [{"role": "user", "content": f"stream {plan.number}"}],
            "stream": True,
        }
        session = self.sessions[plan.number % len(self.sessions)]
        match plan.kind:
            case "CozyChat":
                body |= {"personality_id": "mia", "session_id": session, "use_memory": True}
            case "new session":
                body |= {"model": "mia", "cozy": {"session_id": "new"}}
            case "old session":
                body |= {"model": "mia", "cozy": {"session_id": session}}
            case "two answers":
                body |= {"model": "mia", "n": 2}
            case _:
                body |= {"model": "mia"}
        headers = {"idempotency_key": f"key {plan.number}"} if plan.kind == "key" else {}
        return request("POST", CHAT, self.key, body, **headers)

    async def ask(self, plan: Plan) -> Outcome:
        outcome = Outcome(plan)
        async with wire_to(self.port) as talk:
            with anyio.fail_after(PATIENCE_S):
                await self._talk(plan, talk, outcome)
                if plan.way == "half closes":
                    talk.end()
                    await talk.closed(PATIENCE_S)
                elif plan.way == "resets":
                    talk.reset()
        if plan.again and plan.kind == "key":
            self.back.add(plan.number)
            whole = Plan(plan.number, plan.kind, "at the end", "closes", plan.after, held=False, again=False)
            again = await self.ask(whole)
            assert again.done, f"the second time, {plan} heard {again}"
            assert again.heard == "".join(words_of(plan.number))
        return outcome

    async def _talk(self, plan: Plan, talk: Wire, outcome: Outcome) -> None:
        sent = self.asking(plan)
        head = sent.index(b"\r\n\r\n") + 4
        match plan.place:
            case "before the request":
                return
            case "in the request's head":
                await talk.send(sent[: head * plan.after // WORDS])
                return
            case "in the request's body":
                await talk.send(sent[: head + (len(sent) - head) * plan.after // WORDS])
                return
            case "before the answer":
                await talk.send(sent)
                return
            case _:
                await talk.send(sent)
                raw = await self._hear(plan, talk)
        outcome.status = int(raw[9:12]) if len(raw) >= 12 else None
        outcome.heard, outcome.done = heard_in(raw), b"data: [DONE]" in raw

    async def _hear(self, plan: Plan, talk: Wire) -> bytes:
        enough: Mapping[Place, Callable[[bytes], bool]] = {
            "in the answer's head": lambda raw: len(raw) >= plan.after,
            "after the answer's head": lambda raw: b"\r\n\r\n" in raw,
            "after a word": lambda raw: len(heard_in(raw).split()) >= plan.after,
            "after [DONE]": lambda raw: b"data: [DONE]" in raw,
            "at the end": lambda raw: raw.endswith(b"\r\n0\r\n\r\n"),
        }
        most = plan.after if plan.place == "in the answer's head" else 65536
        raw = b""
        while not enough[plan.place](raw):
            raw += await talk.some(most)
        return raw


# -- a server and all of its clients -----------------------------------------------------------------------


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
        """What is held once nothing is under way, and just these tasks are left; or after a while in which
        it does not come to that."""
        held = await self.held()
        with anyio.move_on_after(PATIENCE_S):
            while any(held.under_way.values()) or (tasks is not None and held.tasks != tasks):
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
    whole = reply == "".join(words_of(plan.number))
    if (status == "complete") is not whole or status == "failed" or (outcome.done and not whole):
        yield f"{plan} is kept as {status}: {reply!r}"
