"""Several `cozy serve` as an operator starts them: each in a folder of its own, as on a machine of its own,
on one database and one Redis, before one model and one memory engine that run in the test.

async with replicas(folder, url, count=2, homes=3) as house:
    ada = await house.person()
    async with house.client(0, ada.key) as first: ...
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import anyio
import anyio.to_thread
import httpx2
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import select

from cozy.ports.identity import IdentityAdmin
from cozy.storage.database import Database, open_database
from cozy.storage.outbox import SqlOutbox
from cozy.storage.tables import messages
from cozy.turn import UserId
from tests.adapters.people import PASSWORD, people
from tests.cli.serving import PATIENCE_S, Running, running
from tests.engines.fake_mem0 import KEY, FakeMem0, fake_mem0
from tests.redis_server import RedisServer, own_redis
from tests.upstream import Upstream, says, upstream

SERVE = ("-m", "cozy", "serve", "--port", "0", "--log-format", "json")
PER_USER = 40
"""Requests a minute."""
LEASE_S = 4
TALK = """\
stages:
  memory:
    type: fetch_context
    source: memory
    timeout: 10s
    on_error: degrade
  prompt:
    type: render_prompt
  answer:
    type: llm
  save:
    type: persist
  remember:
    type: writeback
    targets: memory
"""
MIA = "id: {id}\nname: Mia\nprompt: You are Mia.\nmodel:\n  name: house/fake\npipeline: talk\n{rest}"
FORGETFUL = "stages:\n  remember: off\n"
CONFIGURATION = """\
[providers.house]
base_url = "{model}"
[database]
url = "{database}"
[redis]
url = "{redis}"
[limits]
per_address = 0
per_user = {per_user}
per_key = 0
[workers]
lease_s = {lease_s}
[context]
memory = "diary"
timeout_s = 20
[engines.diary]
kind = "mem0"
url = "{diary}"
api_key_env = "MEM0_KEY"
"""


@dataclass(frozen=True, slots=True)
class Person:
    id: UserId
    name: str
    key: str


@dataclass
class Replicas:
    folder: Path
    database: Database
    identity: IdentityAdmin
    """Of no replica: as in a command of the operator's."""
    redis: RedisServer
    model: Upstream
    diary: FakeMem0
    servers: list[Running]
    ports: list[int]

    @property
    def outbox(self) -> SqlOutbox:
        return SqlOutbox(self.database)

    async def person(self, *, admin: bool = False) -> Person:
        """Somebody new, with an API key."""
        user = await self.identity.create_user(
            f"u{uuid4().hex[:12]}", password=PASSWORD, role="admin" if admin else "user"
        )
        scopes = ("chat", "account", "admin") if admin else ("chat", "account")
        _, words = await self.identity.create_key(user.id, "test", scopes=scopes)
        return Person(user.id, user.username, words)

    def client(self, number: int, credential: str = "") -> httpx2.AsyncClient:
        """Of one replica."""
        return httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{self.ports[number]}",
            headers={"authorization": f"Bearer {credential}"} if credential else {},
            timeout=PATIENCE_S,
            limits=httpx2.Limits(max_connections=200),
        )

    def alone(self) -> int:
        """How often a replica has gone on without Redis, as it does on a machine that is too busy for it."""
        told = (line for server in self.servers for line in server.out)
        return sum("redis does not answer" in line for line in told)

    def write(self, personality: str, rest: str = "") -> None:
        """As a deployment does: into the folder of every replica."""
        for home in self.folder.glob("replica-*"):
            text = MIA.format(id=personality, rest=rest)
            (home / "personalities" / f"{personality}.yaml").write_text(text, "utf-8")

    async def start(self, stack: AsyncExitStack, *homes: int) -> None:
        """Start replicas in the folders of these numbers, at the same moment."""
        begun = [
            stack.enter_context(running(SERVE, self.folder / f"replica-{home}", MEM0_KEY=KEY))
            for home in homes
        ]
        self.servers += begun
        for server in begun:
            self.ports.append(await anyio.to_thread.run_sync(lambda server=server: server.port))

    def prompt(self) -> str:
        """What the model was last asked."""
        return str(self.model.requests[-1].body["messages"])

    async def drained(self) -> None:
        """Wait until every job is done."""
        with anyio.fail_after(PATIENCE_S):
            while await self.outbox.depth():
                await anyio.sleep(0.05)

    def taught(self) -> list[UUID]:
        """Of which turns the engine was told, in order, as often as it was."""
        sent = [r.json for r in self.diary.requests if r.method == "POST" and r.path == "/memories"]
        return [UUID(body["metadata"]["cozy_turn"]) for body in sent if "metadata" in body]

    async def stored(self) -> dict[UUID, list[tuple[str, str, str]]]:
        """Turn → role, status and words of its messages."""
        columns = (messages.c.turn_id, messages.c.role, messages.c.status, messages.c.content)
        statement = select(*columns).order_by(messages.c.session_id, messages.c.position)
        rows = await self.database.read(lambda connection: connection.execute(statement).all())
        turns: dict[UUID, list[tuple[str, str, str]]] = {}
        for turn, *message in rows:
            turns.setdefault(turn, []).append(tuple(message))
        return turns

    async def positions(self, session_id: UUID) -> list[tuple[str, UUID]]:
        """Role and turn of each message of a session, in its order."""
        columns = (messages.c.role, messages.c.turn_id)
        statement = select(*columns).where(messages.c.session_id == session_id).order_by(messages.c.position)
        rows = await self.database.read(lambda connection: connection.execute(statement).all())
        return [(role, turn) for role, turn in rows]

    async def health(self, number: int) -> dict[str, str]:
        """Dependency → condition, as one replica has it; `""` is the whole."""
        async with self.client(number) as client:
            told = (await client.get("/health")).json()
        return {"": told["status"], **{d["name"]: d["status"] for d in told["dependencies"]}}

    async def jobs_done(self, number: int) -> float:
        async with self.client(number) as client:
            text = (await client.get("/metrics")).text
        samples = [s for f in text_string_to_metric_families(text) for s in f.samples]
        wanted = {"target": "memory/diary", "outcome": "done"}
        return sum(s.value for s in samples if s.name == "cozy_jobs_total" and s.labels == wanted)


def chat(text: str, personality: str = "mia", **more: Any) -> dict[str, Any]:
    """The body of a turn."""
    said = [{"role": "user", "content": text}]
    return {"model": personality, "messages": said, "cozy": {"session_id": "new"}, **more}


def repeats(found: Sequence[UUID]) -> dict[UUID, int]:
    return {key: count for key, count in Counter(found).items() if count > 1}


@asynccontextmanager
async def replicas(folder: Path, database_url: str, *, count: int, homes: int) -> AsyncGenerator[Replicas]:
    """`count` of them that run, and folders for so many."""
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(own_redis(folder))
        model = await stack.enter_async_context(upstream(default=says("Hi", " there")))
        diary = await stack.enter_async_context(fake_mem0())
        database = await stack.enter_async_context(open_database(database_url))
        identity = await stack.enter_async_context(people(database))
        configuration = CONFIGURATION.format(
            model=model.base_url,
            database=database_url,
            redis=redis.url,
            diary=diary.url,
            per_user=PER_USER,
            lease_s=LEASE_S,
        )
        for number in range(homes):
            home = folder / f"replica-{number}"
            for part in ("personalities", "pipelines"):
                (home / part).mkdir(parents=True)
            (home / "pipelines" / "talk.yaml").write_text(TALK, "utf-8")
            (home / "cozy.toml").write_text(configuration, "utf-8")
        diary.slow_s = 0.05
        house = Replicas(folder, database, identity, redis, model, diary, [], [])
        house.write("mia")
        house.write("forgetful", FORGETFUL)
        await house.start(stack, *range(count))
        yield house
