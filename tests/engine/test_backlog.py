"""How full the outbox is, and what turns are told of it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import anyio
import pytest
from sqlalchemy import update

from cozy.adapters.sql_store import SqlStore
from cozy.engine.backlog import Backlog
from cozy.engine.worker import Worker
from cozy.errors import EngineUnavailable, Overloaded, StorageError
from cozy.ports.outbox import OutboxFigures
from cozy.ports.store import Job, JobKind, TurnRecord
from cozy.settings import OutboxSettings
from cozy.storage.database import Database, open_database
from cozy.storage.outbox import SqlOutbox
from cozy.storage.schema import utc_now
from cozy.storage.tables import outbox
from cozy.turn import TurnId


@dataclass
class Process:
    """What one of several processes of an installation has of the outbox."""

    database: Database
    bounds: OutboxSettings
    told: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    fails: bool = False

    def __post_init__(self) -> None:
        async def does(job: Job) -> None:
            if self.fails:
                raise EngineUnavailable("memory", "is away")

        self.outbox = SqlOutbox(self.database)
        self.worker = Worker(self.outbox, {"memory": does}, lease_s=30, max_attempts=3)
        self.backlog = Backlog(self.outbox, self.worker, self.bounds)
        self.backlog.watch(lambda policy, count: self.told.append((policy, count)))

    async def turn(self, *names: str, user: str = "ada", kind: JobKind = "write") -> list[UUID]:
        """A turn that leaves these jobs."""
        store = SqlStore(self.database)
        ada = await store.user(user)
        jobs = tuple(Job(uuid4(), "memory", ada, {"name": name}, kind) for name in names)
        await store.save_turn(TurnRecord(TurnId(uuid4()), ada, None, "mia", (), "complete", 0, {}, jobs))
        return [job.id for job in jobs]

    async def left(self) -> int:
        return (await self.outbox.figures()).waiting

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.backlog.run)
            with anyio.fail_after(30):
                yield
            tasks.cancel_scope.cancel()


@pytest.fixture
async def database(sqlite_url: str) -> AsyncIterator[Database]:
    async with open_database(sqlite_url) as database:
        yield database


def process(database: Database, **bounds: Any) -> Process:
    return Process(database, OutboxSettings(**{"max_jobs": 2} | bounds))


async def full(database: Database, **bounds: Any) -> Process:
    """One whose outbox has been filled by another process, and who has seen it."""
    await process(database).turn("a", "b")
    here = process(database, **bounds)
    async with here.looking():
        while not here.backlog.is_full:
            await anyio.sleep(0.005)
    return here


async def test_what_others_have_added_is_seen_at_the_next_look(database: Database) -> None:
    here = await full(database)
    assert here.backlog.is_full
    assert here.told == []


async def test_what_the_process_itself_adds_and_does_is_known_at_once(database: Database) -> None:
    here = process(database, slow_s=0)
    await here.turn("a", "b")
    assert not here.backlog.is_full, "it has not looked"
    await here.backlog.queued(2)
    assert here.backlog.is_full
    await here.worker.drain(30)
    assert not here.backlog.is_full


async def test_a_job_that_failed_still_waits(database: Database) -> None:
    here = process(database, slow_s=0)
    here.fails = True
    await here.turn("a")
    await here.turn("b", user="bob")
    await here.backlog.queued(2)
    await here.worker.drain(5)
    assert here.backlog.is_full


async def test_what_it_does_for_others_does_not_make_room_for_its_own(database: Database) -> None:
    here = process(database, slow_s=0)
    await process(database).turn("a", "b")
    await here.worker.drain(5)  # nobody has told it of them
    await here.backlog.queued(2)
    assert here.backlog.is_full


async def test_age_makes_full_too(database: Database) -> None:
    here = process(database, max_jobs=100, max_age_s=3600)
    await here.turn("a")
    (erase,) = await here.turn("old", kind="erase")
    long_ago = {"created_at": utc_now() - timedelta(hours=2)}
    await database.write(lambda c: c.execute(update(outbox).where(outbox.c.id == erase).values(long_ago)))
    async with here.looking():
        await anyio.sleep(0.05)
        assert not here.backlog.is_full, "what is to be erased does not count"
    await database.write(lambda c: c.execute(update(outbox).values(long_ago)))
    async with here.looking():
        while not here.backlog.is_full:
            await anyio.sleep(0.005)


@pytest.mark.parametrize("policy", ["slow", "drop_oldest", "drop_new"])
async def test_only_one_policy_refuses_turns(database: Database, policy: Any) -> None:
    (await full(database, on_full=policy)).backlog.check()


async def test_turns_are_refused_while_it_is_full(database: Database) -> None:
    here = await full(database, on_full="reject")
    with pytest.raises(Overloaded) as refused:
        here.backlog.check()
    assert refused.value.retry_after_s > 0
    assert here.backlog.accepts(2), "a turn that has begun is never refused"
    await here.worker.drain(30)
    here.backlog.check()
    assert here.told == [("reject", 1)]


async def test_new_jobs_are_dropped_while_it_is_full(database: Database) -> None:
    here = await full(database, on_full="drop_new")
    assert not here.backlog.accepts(2)
    await here.worker.drain(30)
    assert here.backlog.accepts(2)
    assert here.told == [("drop_new", 2)]


async def test_the_oldest_jobs_make_room(database: Database) -> None:
    here = process(database, on_full="drop_oldest")
    async with here.looking():
        first = await here.turn("a", "b")
        await here.backlog.queued(2)
        second = await here.turn("c", "d")
        await here.backlog.queued(2)
        while not here.told:
            await anyio.sleep(0.005)
    assert await here.left() == 2
    assert set(await here.outbox.progress([*first, *second])) == set(second)
    assert here.told == [("drop_oldest", 2)]


async def test_an_outbox_that_is_just_full_is_not_looked_at_for_every_turn(database: Database) -> None:
    class Counting(SqlOutbox):
        async def figures(self) -> OutboxFigures:
            found = await super().figures()
            looks.append(1)
            return found

    looks: list[int] = []
    here = process(database, on_full="drop_oldest")
    backlog = Backlog(Counting(database), here.worker, here.bounds)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(backlog.run)
        while not looks:
            await anyio.sleep(0.005)
        await anyio.wait_all_tasks_blocked()
        for _ in range(20):  # each is at once done by another process: the figure goes up, the queue does not
            await backlog.queued(1)
            await anyio.sleep(0.001)
        with anyio.fail_after(30):
            while backlog.is_full:
                await anyio.sleep(0.005)
        tasks.cancel_scope.cancel()
    assert len(looks) < 6, "one when it began, and few for all the turns"


async def test_a_turn_waits_for_room(database: Database) -> None:
    here = await full(database, slow_s=60)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(here.backlog.queued, 1)
        await anyio.wait_all_tasks_blocked()
        await here.worker.drain(30)
    assert here.told == [("slow", 1)]


@pytest.mark.parametrize(("slow_s", "deadline_s"), [(0.05, 60), (60, 0.1)], ids=["its own", "the stage's"])
async def test_a_turn_does_not_wait_for_ever(database: Database, slow_s: float, deadline_s: float) -> None:
    here = await full(database, slow_s=slow_s)
    with anyio.fail_after(deadline_s):
        await here.backlog.queued(1)


async def test_a_full_outbox_leaves_a_line_now_and_then_that_tells_all(
    database: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cozy.engine.backlog.LOOK_S", 0.01)
    here = await full(database, on_full="drop_new")
    with caplog.at_level(logging.WARNING, "cozy.outbox"):
        for _ in range(50):
            here.backlog.accepts(2)
        assert len(caplog.records) == 1
        monkeypatch.setattr(here.backlog, "_tell_again", 0)  # time goes by
        async with here.looking():
            while len(caplog.records) < 2:
                await anyio.sleep(0.005)
    facts: list[Any] = caplog.records
    assert [(line.policy, line.count, line.jobs) for line in facts] == [
        ("drop_new", 2, 2),
        ("drop_new", 98, 2),
    ]


async def test_a_database_that_is_away_leaves_the_last_figures(database: Database) -> None:
    class Away:
        looks = 0

        async def figures(self) -> OutboxFigures:
            self.looks += 1
            if self.looks > 1:
                raise StorageError("the database is away")
            return OutboxFigures(waiting=5)

    away: Any = Away()
    backlog = Backlog(away, process(database).worker, OutboxSettings(max_jobs=2))
    for looks in (1, 2):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(backlog.run)
            while away.looks < looks:
                await anyio.sleep(0.005)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        assert backlog.is_full


# -- waiting for jobs ------------------------------------------------------------------------------------


async def test_jobs_that_another_process_does_are_waited_for(database: Database) -> None:
    here, there = process(database), process(database)
    jobs = await here.turn("a", "b")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(there.worker.drain, 5)
        with anyio.fail_after(30):
            ended = await here.backlog.wait(jobs)
    assert {progress.state for progress in ended.values()} == {"done"}


async def test_a_job_that_fails_is_not_waited_for_until_it_succeeds(database: Database) -> None:
    here = process(database)
    here.fails = True
    jobs = await here.turn("a")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(here.worker.drain, 5)
        with anyio.fail_after(30):
            ended = await here.backlog.wait(jobs)
    [progress] = ended.values()
    assert (progress.state, progress.error) == ("queued", "EngineUnavailable: memory: is away")


async def test_a_job_that_was_dropped_is_not_waited_for(database: Database) -> None:
    with anyio.fail_after(30):
        assert await process(database).backlog.wait([uuid4()]) == {}
