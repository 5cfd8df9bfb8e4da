"""A worker that is killed in the middle of a job loses nothing and doubles nothing."""

from __future__ import annotations

import signal
import sys
from uuid import uuid4, uuid5

import anyio
import pytest
from sqlalchemy import Connection, func, select

from cozy.adapters.sql_store import SqlStore
from cozy.ports.store import Job, TurnRecord
from cozy.storage.context_tables import learned_turns, memories
from cozy.storage.database import Database
from cozy.storage.tables import outbox
from cozy.turn import TurnId, UserId
from tests.engine.killed_at_work import worker_of

USERS = ("ada", "bob", "小明", "eve")
CITIES = ("rome", "oslo")


async def hand_in(database: Database, user: UserId, text: str) -> None:
    """A turn that teaches memory and profile."""
    turn = TurnId(uuid4())
    payload = {"turn_id": str(turn), "session_id": None, "personality_id": "mia", "model": "demo/demo"}
    payload |= {"user": text, "assistant": "ok"}
    targets = ("memory/embedded", "profile/embedded")
    jobs = tuple(Job(uuid5(turn, target), target, user, payload) for target in targets)
    await SqlStore(database).save_turn(TurnRecord(turn, user, None, "mia", (), "complete", 0, {}, jobs))


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_killed_worker_loses_nothing_and_doubles_nothing(
    database: Database, database_url: str, moment: str
) -> None:
    for name in USERS:
        user = await SqlStore(database).user(name)
        for city in CITIES:
            await hand_in(database, user, f"I like {city}")
    command = [sys.executable, "-m", "tests.engine.killed_at_work", database_url, moment]
    killed = await anyio.run_process(command, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()

    def under_way(connection: Connection) -> int:
        return connection.execute(
            select(func.count()).select_from(outbox).where(outbox.c.state != "done")
        ).scalar_one()

    assert await database.read(under_way) > 0
    worker = worker_of(database)
    with anyio.fail_after(30):
        while await worker.drain(30):  # what it held is due when its lease runs out
            await anyio.sleep(0.05)

    def kept(connection: Connection) -> tuple[list[int], int, set[str]]:
        seen = connection.execute(select(memories.c.seen)).scalars().all()
        turns = connection.execute(select(func.count()).select_from(learned_turns)).scalar_one()
        states = connection.execute(select(outbox.c.state)).scalars().all()
        return list(seen), turns, set(states)

    seen, turns, states = await database.read(kept)
    assert seen == [1] * len(USERS) * len(CITIES), "each thing is remembered, as said once"
    assert (turns, states) == (2 * len(USERS) * len(CITIES), {"done"})
