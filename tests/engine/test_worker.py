"""Jobs that turns leave are done at least once, in order for each user, and given up only for a reason."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import anyio
import pytest
from sqlalchemy import select

from cozy.adapters.sql_store import SqlStore
from cozy.engine.learning import exchange_of, learning
from cozy.engine.worker import LONGEST_ERROR, Handler, Worker, _pause, _words
from cozy.errors import EngineCircuitOpen, EngineInvalidRequest, EngineUnavailable, StorageError
from cozy.ports.context import EngineChoice
from cozy.ports.memory import Exchange
from cozy.ports.outbox import Ending, LeasedJob
from cozy.ports.store import Job, JobKind, TurnRecord
from cozy.storage.database import Database, open_database
from cozy.storage.outbox import SqlOutbox
from cozy.storage.schema import utc_now
from cozy.storage.tables import outbox
from cozy.turn import Message, SessionId, TurnId, UserId
from tests.clock import LoopClock


@dataclass
class Installation:
    """A database with jobs in it."""

    database: Database
    store: SqlStore
    users: dict[str, UserId] = field(default_factory=dict[str, UserId])

    async def queue(
        self, *names: str, user: str = "ada", target: str = "memory", kind: JobKind = "write"
    ) -> None:
        if user not in self.users:
            self.users[user] = await self.store.user(user)
        for name in names:
            job = Job(uuid4(), target, self.users[user], {"name": name}, kind)
            turn = TurnId(uuid4())
            record = TurnRecord(turn, self.users[user], None, "mia", (), "complete", 0, {}, (job,))
            await self.store.save_turn(record)

    async def rows(self) -> list[tuple[str, str, int, str | None]]:
        """Name, state, attempts and last error of each job, in the order in which they were queued."""
        columns = (outbox.c.payload, outbox.c.state, outbox.c.attempts, outbox.c.last_error)
        query = select(*columns).order_by(outbox.c.seq)
        found = await self.database.read(lambda connection: connection.execute(query).all())
        return [(row[0].get("name", "-"), *row[1:]) for row in found]

    def worker(self, memory: Handler, **given: Any) -> Worker:
        handlers = {"memory": memory, **given.pop("others", {})}
        settings = {"lease_s": 30.0, "max_attempts": 3} | given
        return Worker(SqlOutbox(self.database), handlers, **settings)


@pytest.fixture
async def installation(sqlite_url: str) -> AsyncIterator[Installation]:
    async with open_database(sqlite_url) as database:
        yield Installation(database, SqlStore(database))


@asynccontextmanager
async def at_work(worker: Worker, within_s: float = 30) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run)
        with anyio.fail_after(within_s):
            yield
        tasks.cancel_scope.cancel()


class Hanging:
    """Does a job for ever."""

    def __init__(self) -> None:
        self.began, self.stopped = anyio.Event(), anyio.Event()

    async def __call__(self, job: Job) -> None:
        self.began.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.stopped.set()


async def test_a_job_is_done_once(installation: Installation) -> None:
    done: list[str] = []

    async def does(job: Job) -> None:
        done.append(job.payload["name"])

    await installation.queue("a", "b")
    worker = installation.worker(does)
    assert await worker.drain(30) == 0
    assert await worker.drain(30) == 0
    assert done == ["a", "b"]
    assert [row[1] for row in await installation.rows()] == ["done", "done"]


async def test_jobs_of_different_users_are_done_side_by_side(installation: Installation) -> None:
    here, both = [0], anyio.Event()

    async def meets(job: Job) -> None:
        here[0] += 1
        if here[0] == 2:
            both.set()
        await both.wait()

    await installation.queue("a", user="ada")
    await installation.queue("b", user="bob")
    with anyio.fail_after(30):
        assert await installation.worker(meets).drain(30) == 0


async def test_a_worker_told_to_do_one_at_a_time_begins_none_before_the_last_has_ended(
    installation: Installation,
) -> None:
    told: list[str] = []

    async def does(job: Job) -> None:
        told.append(f"{job.payload['name']} begins")
        await anyio.sleep(0.01)
        told.append(f"{job.payload['name']} ends")

    for name in "ab":
        await installation.queue(name, user=name)
    assert await installation.worker(does, at_once=1).drain(30) == 0
    assert told == ["a begins", "a ends", "b begins", "b ends"]


async def test_a_slow_job_holds_up_nobody_elses(installation: Installation) -> None:
    slow, others = anyio.Event(), list[str]()

    async def does(job: Job) -> None:
        if job.payload["name"] == "slow":
            await slow.wait()
        others.append(job.payload["name"])
        if len(others) == 2:
            slow.set()

    await installation.queue("slow", user="ada")
    await installation.queue("b", "c", user="bob")  # c is due only when b is done
    with anyio.fail_after(30):
        assert await installation.worker(does).drain(30) == 0
    assert others == ["b", "c", "slow"]


async def test_jobs_of_one_user_are_done_one_after_the_other(installation: Installation) -> None:
    at_once = most = 0

    async def counts(job: Job) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await anyio.lowlevel.checkpoint()
        at_once -= 1

    await installation.queue("a", "b", "c")
    assert await installation.worker(counts).drain(30) == 0
    assert most == 1


async def test_a_job_that_failed_waits_before_it_is_tried_again(installation: Installation) -> None:
    async def fails(job: Job) -> None:
        raise EngineUnavailable("memory", "is away")

    await installation.queue("a", "b")
    worker = installation.worker(fails)
    assert await worker.drain(30) == 2  # a is not due yet, and b waits behind it
    assert await installation.rows() == [
        ("a", "queued", 1, "EngineUnavailable: memory: is away"),
        ("b", "queued", 0, None),
    ]


async def test_a_job_that_fails_too_often_is_given_up_and_the_next_one_follows(
    installation: Installation,
) -> None:
    async def fails(job: Job) -> None:
        if job.payload["name"] == "a":
            raise EngineUnavailable("memory", "is away")

    await installation.queue("a", "b")
    assert await installation.worker(fails, max_attempts=1).drain(30) == 0
    rows = await installation.rows()
    assert [(name, state) for name, state, *_ in rows] == [("a", "dead"), ("-", "done")]


async def test_a_job_whose_engine_is_left_alone_has_not_been_tried(installation: Installation) -> None:
    async def left_alone(job: Job) -> None:
        raise EngineCircuitOpen("memory", 120)

    await installation.queue("a")
    for _ in range(2):
        await installation.worker(left_alone, max_attempts=1).drain(30)
        [(_, state, attempts, error)] = await installation.rows()
        assert (state, attempts) == ("queued", 0)
        assert error is not None, "one who waits for it is told"
        await installation.database.write(lambda c: c.execute(outbox.update().values(due_at=utc_now())))


async def test_a_job_that_would_be_refused_again_is_given_up_at_once(installation: Installation) -> None:
    async def refuses(job: Job) -> None:
        raise EngineInvalidRequest("memory", "no")

    await installation.queue("a")
    await installation.worker(refuses, max_attempts=9).drain(30)
    assert await installation.rows() == [("a", "dead", 1, "EngineInvalidRequest: memory: no")]


async def test_a_job_that_nobody_does_is_given_up(installation: Installation) -> None:
    async def does(job: Job) -> None: ...

    await installation.queue("a", target="astrology")
    await installation.queue("b", target="memory/gone")
    await installation.worker(does, others={"memory/embedded": does}).drain(30)
    no_engine = "no engine `gone` for memory is configured any more"
    assert await installation.rows() == [
        ("a", "dead", 1, "EngineInvalidRequest: astrology: nobody here does such jobs"),
        ("b", "dead", 1, f"EngineInvalidRequest: memory/gone: {no_engine}"),
    ]


async def test_a_watcher_is_told_how_every_attempt_ends(installation: Installation) -> None:
    told: list[tuple[str, str]] = []
    over = anyio.Event()

    async def does(job: Job) -> None:
        if job.payload["name"] == "bad":
            raise EngineUnavailable("memory", "is away")

    def heard(target: str, outcome: str) -> None:
        told.append((target, outcome))
        if len(told) == 3:
            over.set()

    await installation.queue("good", user="ada")
    await installation.queue("bad", user="bob")
    await installation.queue("odd", user="cid", target="a name that somebody made up")
    worker = installation.worker(does)
    worker.watch(heard)
    async with at_work(worker):
        await over.wait()
    assert sorted(told) == [("memory", "done"), ("memory", "failed"), ("other", "given_up")]


async def test_a_bug_in_a_job_is_logged_and_tried_again(
    installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    async def breaks(job: Job) -> None:
        raise ValueError("what a user said")

    await installation.queue("a")
    assert await installation.worker(breaks).drain(30) == 1
    [(_, state, _, error)] = await installation.rows()
    assert (state, error) == ("queued", "ValueError: a bug; the log says where")
    assert any(record.exc_info for record in caplog.records)
    whose = ("memory", str(installation.users["ada"]))
    assert {(record.target, record.user_id) for record in caplog.records} == {whose}  # type: ignore[attr-defined]


async def test_a_job_that_hangs_is_given_back_after_a_while(installation: Installation) -> None:
    async def hangs(job: Job) -> None:
        await anyio.sleep_forever()

    await installation.queue("a")
    with anyio.fail_after(30):
        await installation.worker(hangs, job_timeout_s=0.05).drain(30)
    [(_, state, attempts, error)] = await installation.rows()
    assert (state, attempts) == ("queued", 1)
    assert error == "EngineTimeout: memory: took longer than 0.05 s"


async def test_a_worker_that_is_woken_does_not_wait_for_its_next_look(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cozy.engine.worker.POLL_S", 3600)
    did = anyio.Event()

    async def does(job: Job) -> None:
        did.set()

    worker = installation.worker(does)
    async with at_work(worker):
        await anyio.wait_all_tasks_blocked()
        await installation.queue("a")
        worker.wake()
        await did.wait()


async def test_a_wake_that_comes_while_it_works_is_not_lost(installation: Installation) -> None:
    did: list[str] = []
    both = anyio.Event()

    async def does(job: Job) -> None:
        did.append(job.payload["name"])
        if len(did) == 1:
            await installation.queue("b")
            worker.wake()
        else:
            both.set()

    worker = installation.worker(does)
    await installation.queue("a")
    async with at_work(worker):
        await both.wait()
    assert did == ["a", "b"]


async def test_stopping_a_worker_in_the_middle_gives_its_jobs_back_at_once(
    installation: Installation,
) -> None:
    began = anyio.Event()

    async def hangs(job: Job) -> None:
        began.set()
        await anyio.sleep_forever()

    await installation.queue("a")
    worker = installation.worker(hangs)
    async with at_work(worker):
        await began.wait()
        assert [row[1] for row in await installation.rows()] == ["leased"]
    assert await installation.rows() == [("a", "queued", 0, None)]
    assert worker.busy == 0


async def test_what_is_done_when_a_worker_is_stopped_is_not_done_again(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    did = anyio.Event()

    async def does(job: Job) -> None:
        did.set()

    troubled: Any = Troubled(SqlOutbox(installation.database), {"done"})
    worker = Worker(troubled, {"memory": does}, lease_s=30, max_attempts=3)
    await installation.queue("a")
    async with at_work(worker):  # its end cannot be put on record, and would be tried again in a second
        await did.wait()
        while troubled.trouble:
            await anyio.sleep(0.01)
    assert [row[1] for row in await installation.rows()] == ["done"]


async def test_a_long_job_is_held_on_to_and_done_once(
    installation: Installation, loop_clock: LoopClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def later() -> datetime:
        return utc_now() + timedelta(seconds=loop_clock.ahead_s)

    monkeypatch.setattr("cozy.storage.outbox.utc_now", later)
    monkeypatch.setattr("cozy.engine.worker.POLL_S", 3600)
    began: list[str] = []
    rest = anyio.Event()
    renewals = 0

    class Counting(Troubled):
        async def renew(self, *args: Any, **options: Any) -> Collection[UUID]:
            nonlocal renewals
            kept = await super().renew(*args, **options)
            renewals += 1
            return kept

    async def takes_long(job: Job) -> None:
        began.append(job.payload["name"])
        await rest.wait()

    def worker() -> Worker:
        counting: Any = Counting(SqlOutbox(installation.database), set())
        return Worker(counting, {"memory": takes_long}, lease_s=30, max_attempts=3)

    await installation.queue("a")
    one, other = worker(), worker()
    async with at_work(one, 3600), at_work(other, 3600):
        while not began:
            await anyio.sleep(0.005)
        for third in range(1, 7):  # twice its lease
            await loop_clock.pass_by(10)
            while renewals < third:
                await anyio.sleep(0.005)
            one.wake()
            other.wake()
        rest.set()
        while (await installation.rows())[0][1] != "done":
            await anyio.sleep(0.005)
    assert began == ["a"]
    assert [row[2] for row in await installation.rows()] == [1]


async def test_a_job_that_was_taken_away_is_stopped(
    installation: Installation, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cozy.engine.worker.POLL_S", 60.0)
    hangs = Hanging()
    await installation.queue("a")
    worker = installation.worker(hangs, lease_s=3)  # renewed after a third of it
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.run)
            await hangs.began.wait()
            worker.leave()
            await installation.database.write(lambda connection: connection.execute(outbox.delete()))
            await hangs.stopped.wait()
    assert worker.busy == 0
    assert [record.getMessage() for record in caplog.records] == ["job was taken away"]


@pytest.mark.parametrize("trouble", ["refuses", "hangs"])
async def test_a_job_whose_lease_cannot_be_renewed_is_stopped_when_it_runs_out(
    installation: Installation, trouble: str
) -> None:
    """Another process may do it by then, and after it what erases the user."""
    hangs = Hanging()

    class Away(Troubled):
        async def renew(self, leases: Sequence[LeasedJob], *, lease_s: float) -> Collection[UUID]:
            if trouble == "refuses":
                raise StorageError("the database is away")
            return await anyio.sleep_forever()

    await installation.queue("a")
    away: Any = Away(SqlOutbox(installation.database), set())
    async with at_work(Worker(away, {"memory": hangs}, lease_s=0.1, max_attempts=3)):
        await hangs.began.wait()
        await hangs.stopped.wait()


async def test_a_job_that_is_slow_to_stop_does_not_take_its_next_attempt_with_it(
    installation: Installation,
) -> None:
    tried: list[str] = []
    second, left = anyio.Event(), anyio.Event()

    class Away(Troubled):
        async def renew(self, leases: Sequence[LeasedJob], *, lease_s: float) -> Collection[UUID]:
            if second.is_set():
                return await super().renew(leases, lease_s=lease_s)
            raise StorageError("the database is away")

    async def does(job: Job) -> None:
        tried.append(job.payload["name"])
        if len(tried) > 1:
            second.set()
            await left.wait()
            return
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                while not second.is_set():
                    worker.wake()
                    await anyio.sleep(0.01)
            left.set()

    await installation.queue("a")
    away: Any = Away(SqlOutbox(installation.database), set())
    worker = Worker(away, {"memory": does}, lease_s=0.3, max_attempts=3)
    async with at_work(worker):
        while (await installation.rows())[0][1] != "done":
            await anyio.sleep(0.01)
    assert tried == ["a", "a"]


async def test_jobs_that_end_together_are_put_on_record_together(installation: Installation) -> None:
    batches: list[int] = []

    class Counting(Troubled):
        async def settle(self, endings: Sequence[Ending]) -> None:
            batches.append(len(endings))
            await super().settle(endings)

    here, all_here = [0], anyio.Event()

    async def meets(job: Job) -> None:
        here[0] += 1
        if here[0] == 6:
            all_here.set()
        await all_here.wait()

    for number in range(6):
        await installation.queue(f"{number}", user=f"user {number}")
    counting: Any = Counting(SqlOutbox(installation.database), set())
    assert await Worker(counting, {"memory": meets}, lease_s=30, max_attempts=3).drain(30) == 0
    assert batches == [6]


async def test_an_engine_that_hangs_leaves_room_for_others(installation: Installation) -> None:
    never, did = anyio.Event(), anyio.Event()

    async def hangs(job: Job) -> None:
        await never.wait()

    async def does(job: Job) -> None:
        did.set()

    for number in range(20):
        await installation.queue("a", user=f"user {number}")
    await installation.queue("b", target="profile")
    worker = installation.worker(hangs, others={"profile": does})
    async with at_work(worker):
        await did.wait()
        assert worker.busy < 20


async def test_a_job_whose_workers_die_of_it_is_given_up(installation: Installation) -> None:
    async def does(job: Job) -> None: ...

    await installation.queue("a")
    for _ in range(3):
        await SqlOutbox(installation.database).claim(limit=1, lease_s=0)
    assert await installation.worker(does, max_attempts=3).drain(30) == 0
    [(_, state, attempts, error)] = await installation.rows()
    assert (state, attempts) == ("dead", 4)
    assert error is not None
    assert "has died of it" in error


async def test_an_erasure_whose_workers_died_is_done_in_the_end(installation: Installation) -> None:
    async def does(job: Job) -> None: ...

    await installation.queue("a", kind="erase")
    for _ in range(3):
        await SqlOutbox(installation.database).claim(limit=1, lease_s=0)
    assert await installation.worker(does, max_attempts=3).drain(5) == 0
    assert [row[1] for row in await installation.rows()] == ["done"]


async def test_what_is_to_be_erased_is_never_given_up(installation: Installation) -> None:
    async def refuses(job: Job) -> None:
        raise EngineInvalidRequest("memory", "no")

    await installation.queue("a", kind="erase")
    await installation.worker(refuses, max_attempts=1).drain(30)
    assert [row[1] for row in await installation.rows()] == ["queued"]


def test_of_an_error_only_the_beginning_is_kept() -> None:
    assert len(_words(EngineUnavailable("memory", "x" * 9999))) == LONGEST_ERROR


@pytest.mark.parametrize(
    ("attempts", "error", "least", "most"),
    [
        (1, EngineUnavailable("memory", "away"), 1, 2),
        (5, EngineUnavailable("memory", "away"), 16, 32),
        (5000, KeyError("a bug"), 150, 300),
        (1, EngineUnavailable("memory", "away", retry_after_s=40), 40, 44),
        (1, EngineUnavailable("memory", "away", retry_after_s=1e9), 3600, 3960),
    ],
)
def test_pauses_grow_up_to_a_bound_and_are_as_long_as_the_engine_asks(
    attempts: int, error: Exception, least: float, most: float
) -> None:
    pauses = [_pause(attempts, error) for _ in range(50)]
    assert min(pauses) >= least
    assert max(pauses) <= most
    assert len(set(pauses)) > 1


# -- an outbox in trouble -------------------------------------------------------------------------------


@dataclass
class Troubled:
    """An outbox whose calls of some name fail once."""

    outbox: SqlOutbox
    trouble: set[str]

    def _trouble(self, name: str) -> None:
        if name in self.trouble:
            self.trouble.remove(name)
            raise StorageError("the disk is full")

    async def claim(self, **asked: Any) -> Sequence[LeasedJob]:
        self._trouble("claim")
        return await self.outbox.claim(**asked)

    async def settle(self, endings: Sequence[Ending]) -> None:
        for ending in endings:
            self._trouble(ending.outcome)
        await self.outbox.settle(endings)

    async def renew(self, leases: Sequence[LeasedJob], *, lease_s: float) -> Collection[UUID]:
        self._trouble("renew")
        return await self.outbox.renew(leases, lease_s=lease_s)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.outbox, name)


@pytest.mark.parametrize("call", ["claim", "done", "failed", "dead", "renew"])
async def test_a_worker_outlives_trouble_of_its_outbox(
    installation: Installation, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its work goes on: a job of another user is done after the trouble."""
    monkeypatch.setattr("cozy.engine.worker.AGAIN_S", 0.01)
    did = anyio.Event()

    async def does(job: Job) -> None:
        if job.payload["name"] == "last":
            did.set()
        elif call == "failed":
            raise EngineUnavailable("memory", "is away")
        elif call == "dead":
            raise EngineInvalidRequest("memory", "no")
        elif call == "renew":
            while troubled.trouble:
                await anyio.sleep(0.01)

    troubled: Any = Troubled(SqlOutbox(installation.database), {call})
    worker = Worker(troubled, {"memory": does}, lease_s=1.5 if call == "renew" else 30, max_attempts=3)
    await installation.queue("first")
    async with at_work(worker):
        while troubled.trouble:
            await anyio.sleep(0.01)
        await installation.queue("last", user="bob")
        worker.wake()
        await did.wait()
        while worker.busy:
            await anyio.sleep(0.01)
    states = {name: state for name, state, *_ in await installation.rows()}
    assert states.get("first", "done") == {"failed": "queued", "dead": "dead"}.get(call, "done")


async def test_what_is_done_but_not_on_record_when_its_lease_runs_out_is_not_done_again(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cozy.engine.worker.AGAIN_S", 0.02)
    did: list[str] = []
    taken_again = anyio.Event()

    class Away(Troubled):
        """It cannot be written before the job was taken a second time."""

        async def claim(self, **asked: Any) -> Sequence[LeasedJob]:
            leased = await super().claim(**asked)
            if did and leased:
                taken_again.set()
            return leased

        async def settle(self, endings: Sequence[Ending]) -> None:
            if not taken_again.is_set():
                worker.wake()
                raise StorageError("the database is away")
            await super().settle(endings)

    async def does(job: Job) -> None:
        did.append(job.payload["name"])

    await installation.queue("a")
    away: Any = Away(SqlOutbox(installation.database), set())
    worker = Worker(away, {"memory": does}, lease_s=0.1, max_attempts=3)
    async with at_work(worker):
        while (await installation.rows())[0][1] != "done":
            await anyio.sleep(0.01)
    assert did == ["a"]


# -- what the jobs of writeback are ----------------------------------------------------------------------


class Learner:
    """Memories or profiles that only note what they are taught."""

    def __init__(self) -> None:
        self.taught: list[Exchange] = []
        self.forgotten: list[UserId] = []

    async def forget(self, user_id: UserId, item_id: str | None = None) -> int:
        self.forgotten.append(user_id)
        return 1

    async def learn(self, exchange: Exchange) -> int:
        self.taught.append(exchange)
        return 1


@pytest.mark.parametrize("session", [SessionId(UUID(int=3)), None])
async def test_a_job_of_writeback_teaches_its_exchange(session: SessionId | None) -> None:
    payload = {
        "turn_id": str(UUID(int=1)),
        "session_id": str(session) if session else None,
        "personality_id": "mia",
        "model": "demo/demo",
        "user": "我叫小明",
        "assistant": "你好，小明",
    }
    memories, profiles = Learner(), Learner()
    first: Any = memories
    second: Any = profiles
    handlers = learning({"embedded": first}, {"embedded": second})
    assert set(handlers) == {"memory/embedded", "profile/embedded", "memory", "profile"}
    for target in ("memory/embedded", "profile/embedded"):
        await handlers[target](Job(UUID(int=2), target, UserId(UUID(int=4)), payload))
    exchange = Exchange(
        TurnId(UUID(int=1)),
        UserId(UUID(int=4)),
        session,
        "mia",
        "demo/demo",
        (Message("user", "我叫小明"), Message("assistant", "你好，小明")),
    )
    assert memories.taught == profiles.taught == [exchange]
    assert exchange_of(Job(UUID(int=2), "memory", UserId(UUID(int=4)), payload)) == exchange


async def test_each_engine_has_its_own_jobs_and_those_of_earlier_versions_are_the_defaults() -> None:
    mine: Any = Learner()
    theirs: Any = Learner()
    handlers = learning({"embedded": theirs, "mine": mine}, {}, default=EngineChoice(memory="mine"))
    assert set(handlers) == {"memory", "memory/embedded", "memory/mine"}
    assert handlers["memory"] is handlers["memory/mine"]


async def test_a_job_of_an_erasure_makes_its_engine_forget_the_user() -> None:
    memories: Any = Learner()
    ada = UserId(UUID(int=4))
    await learning({"mine": memories}, {})["memory/mine"](Job(UUID(int=2), "memory/mine", ada, {}, "erase"))
    assert (memories.forgotten, memories.taught) == ([ada], [])


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"turn_id": "x"},
        {"turn_id": 3, "personality_id": "mia", "model": "m", "user": "", "assistant": ""},
    ],
    ids=["empty", "cut off", "of wrong types"],
)
def test_a_job_that_holds_no_exchange_is_not_tried_again(payload: dict[str, Any]) -> None:
    with pytest.raises(EngineInvalidRequest, match="holds no exchange"):
        exchange_of(Job(UUID(int=2), "memory/mine", UserId(UUID(int=4)), payload))


class LateOutbox:
    """Answers that nothing is due only when what was under way has ended."""

    def __init__(self, database: Database) -> None:
        self._inner = SqlOutbox(database)
        self.looked, self.ended = anyio.Event(), anyio.Event()

    async def claim(self, **asked: Any) -> Sequence[LeasedJob]:
        found = await self._inner.claim(**asked)
        if not found and not self.ended.is_set():
            self.looked.set()
            await self.ended.wait()
        return found

    async def settle(self, endings: Sequence[Ending]) -> None:
        await self._inner.settle(endings)
        self.ended.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


async def test_a_job_that_became_due_while_the_worker_looked_is_done_before_it_leaves(
    installation: Installation,
) -> None:
    late: Any = LateOutbox(installation.database)

    async def does(job: Job) -> None:
        await late.looked.wait()

    await installation.queue("a", "b")
    worker = Worker(late, {"memory": does}, lease_s=30.0, max_attempts=3)
    with anyio.fail_after(30):
        assert await worker.drain(30) == 0
