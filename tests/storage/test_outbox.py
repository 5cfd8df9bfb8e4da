from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import anyio
import pytest
from sqlalchemy import Connection, func, select, update

from cozy.adapters.sql_store import SqlStore
from cozy.ports.outbox import Ending, JobProgress, LeasedJob, OutboxFigures
from cozy.ports.store import Job, JobKind, TurnRecord
from cozy.storage import outbox as module
from cozy.storage.database import Database, open_database
from cozy.storage.outbox import SqlOutbox
from cozy.storage.schema import utc_now
from cozy.storage.tables import outbox
from cozy.turn import TurnId, UserId
from tests.databases import plan_of, wait_for_another

LEASE_S = 60.0


def _taking(job: UUID, taken: anyio.Event) -> Callable[[Connection], None]:
    """What another process does: it commits once somebody waits for it."""

    def take(connection: Connection) -> None:
        until = utc_now() + timedelta(hours=1)
        lease = update(outbox).where(outbox.c.id == job).values(state="leased", leased_until=until)
        connection.execute(lease)
        taken.set()
        wait_for_another(connection)

    return take


class Desk:
    """Jobs are handed in here, and looked at."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.store = SqlStore(database)
        self.outbox = SqlOutbox(database)

    async def hand_in(
        self, user: UserId, *names: str, target: str = "memory", kind: JobKind = "write"
    ) -> list[UUID]:
        """One turn that leaves a job for each name, in this order."""
        jobs = tuple(Job(uuid4(), target, user, {"name": name}, kind) for name in names)
        await self.store.save_turn(
            TurnRecord(TurnId(uuid4()), user, None, "default", (), "complete", 0, {}, jobs)
        )
        return [job.id for job in jobs]

    async def claim(self, limit: int = 10, lease_s: float = LEASE_S) -> list[str]:
        return names(await self.outbox.claim(limit=limit, lease_s=lease_s))

    async def settle(self, job_id: UUID, outcome: Any, attempts: int = 1, **more: Any) -> None:
        """As the worker does that has taken it the `attempts`th time."""
        nobody = UserId(UUID(int=0))
        lease = LeasedJob(Job(job_id, "memory", nobody, {}), attempts)
        await self.outbox.settle([Ending(lease, outcome, **more)])

    async def done(self, job_id: UUID) -> None:
        await self.settle(job_id, "done")

    async def row(self, job_id: UUID) -> dict[str, object]:
        statement = select(outbox).where(outbox.c.id == job_id)
        return await self.database.read(lambda c: dict(c.execute(statement).mappings().one()))


def names(leased: Sequence[LeasedJob]) -> list[str]:
    return [str(item.job.payload["name"]) for item in leased]


@pytest.fixture
async def desk(database: Database) -> Desk:
    return Desk(database)


@pytest.fixture
async def ada(desk: Desk) -> UserId:
    return await desk.store.user("ada")


@pytest.fixture
async def ming(desk: Desk) -> UserId:
    return await desk.store.user("小明")


async def test_whoever_finds_nothing_does_not_hold_up_those_who_write(desk: Desk, ada: UserId) -> None:
    class Reading:
        dialect, read = desk.database.dialect, desk.database.read

    reading: Any = Reading()
    await desk.hand_in(ada, "first", "second")
    await desk.claim()
    assert await SqlOutbox(reading).claim(limit=1, lease_s=LEASE_S) == []


async def test_an_empty_outbox_gives_nothing(desk: Desk) -> None:
    assert await desk.claim() == []
    assert await desk.outbox.depth() == 0
    assert await desk.outbox.figures() == OutboxFigures()


async def test_the_oldest_job_is_the_one_that_was_written_first_and_is_not_done(
    desk: Desk, ada: UserId, ming: UserId
) -> None:
    ages = {"old": 90, "older": 3600, "new": 0}
    for user, (name, age_s) in zip((ada, ming, ada), ages.items(), strict=True):
        [job] = await desk.hand_in(user, name)
        written = {"created_at": utc_now() - timedelta(seconds=age_s)}
        statement = update(outbox).where(outbox.c.id == job).values(written)
        await desk.database.write(lambda c, statement=statement: c.execute(statement))
        if name == "older":
            older = job
    assert (await desk.outbox.figures()).oldest_s == pytest.approx(3600, abs=30)
    assert await desk.claim(1) == ["old"]
    await desk.done(older)
    assert (await desk.outbox.figures()).oldest_s == pytest.approx(90, abs=30)


async def test_a_job_comes_back_as_it_was_handed_in(desk: Desk, ada: UserId) -> None:
    payload = {"user": "我叫小明😀", "nested": {"numbers": [1, 2.5, None, True]}, "name": "n"}
    job = Job(uuid4(), "profile", ada, payload)
    await desk.store.save_turn(
        TurnRecord(TurnId(uuid4()), ada, None, "default", (), "complete", 0, {}, (job,))
    )
    assert list(await desk.outbox.claim(limit=1, lease_s=LEASE_S)) == [LeasedJob(job, 1)]


async def test_one_job_at_a_time_for_a_user_and_target_in_the_order_of_writing(
    desk: Desk, ada: UserId
) -> None:
    first, second, third = await desk.hand_in(ada, "first", "second", "third")
    done: list[str] = []
    for job_id in (first, second, third):
        done += await desk.claim()
        assert await desk.claim() == []
        await desk.done(job_id)
    assert done == ["first", "second", "third"]
    assert await desk.outbox.depth() == 0


async def test_who_has_waited_longest_is_first(desk: Desk, ada: UserId, ming: UserId) -> None:
    (first,) = await desk.hand_in(ada, "first")
    await desk.hand_in(ming, "second")
    await desk.claim(limit=1)
    await desk.settle(first, "released")
    assert await desk.claim(limit=1) == ["first"]


async def test_other_users_and_targets_do_not_wait(desk: Desk, ada: UserId, ming: UserId) -> None:
    await desk.hand_in(ada, "ada 1", "ada 2")
    await desk.hand_in(ming, "ming 1")
    await desk.hand_in(ada, "ada profile", target="profile")
    assert await desk.claim(limit=2) == ["ada 1", "ming 1"]
    assert await desk.claim(limit=2) == ["ada profile"]


async def test_a_job_that_is_given_back_is_due_later_and_holds_up_those_behind_it(
    desk: Desk, ada: UserId
) -> None:
    first, second = await desk.hand_in(ada, "first", "second")
    assert await desk.claim() == ["first"]
    await desk.settle(first, "failed", error="模型不在", after_s=3600)
    assert await desk.claim() == []
    assert (await desk.row(first))["last_error"] == "模型不在"
    await _make_due(desk, first)
    (again,) = await desk.outbox.claim(limit=10, lease_s=LEASE_S)
    assert (again.job.id, again.attempts) == (first, 2)
    await desk.done(first)
    assert await desk.claim() == ["second"]
    assert (await desk.row(second))["attempts"] == 1


async def test_a_lease_that_ran_out_is_taken_again(desk: Desk, ada: UserId) -> None:
    (job_id, _) = await desk.hand_in(ada, "first", "second")
    assert await desk.claim(lease_s=0) == ["first"]  # its worker dies
    (again,) = await desk.outbox.claim(limit=10, lease_s=LEASE_S)
    assert (again.job.id, again.attempts) == (job_id, 2)
    assert await desk.claim() == []


async def test_a_buried_job_is_kept_and_holds_up_nobody(desk: Desk, ada: UserId) -> None:
    first, _ = await desk.hand_in(ada, "first", "second")
    assert await desk.claim() == ["first"]
    await desk.settle(first, "dead", error="bad payload")
    assert await desk.outbox.depth() == 1
    assert await desk.claim() == ["second"]
    row = await desk.row(first)
    assert (row["state"], row["last_error"], row["payload"]) == ("dead", "bad payload", {"name": "first"})


async def test_a_late_word_of_a_worker_that_lost_its_lease_changes_nothing(desk: Desk, ada: UserId) -> None:
    (job_id,) = await desk.hand_in(ada, "first")
    await desk.claim(lease_s=0)
    await desk.claim()
    await desk.done(job_id)
    await desk.settle(job_id, "failed", 2, error="late")
    await desk.settle(job_id, "dead", 2, error="late")
    assert (await desk.row(job_id))["state"] == "done"
    assert await desk.claim() == []


async def test_a_worker_that_lost_its_lease_says_nothing_of_the_one_that_has_it(
    desk: Desk, ada: UserId
) -> None:
    (job_id,) = await desk.hand_in(ada, "first")
    late = (await desk.outbox.claim(limit=1, lease_s=0))[0]
    await desk.claim()
    await desk.hand_in(ada, "erase", kind="erase")
    before = await desk.row(job_id)
    for outcome in ("failed", "dead", "released"):
        await desk.settle(job_id, outcome, late.attempts, error="late")
    assert await desk.outbox.renew([late], lease_s=LEASE_S) == set()
    assert await desk.row(job_id) == before


async def test_a_lease_that_is_renewed_does_not_run_out(desk: Desk, ada: UserId) -> None:
    await desk.hand_in(ada, "first")
    leased = await desk.outbox.claim(limit=1, lease_s=0)
    assert await desk.outbox.renew(leased, lease_s=LEASE_S) == {leased[0].job.id}
    assert await desk.claim() == []


async def test_a_job_that_is_released_is_due_at_once_and_was_not_tried(desk: Desk, ada: UserId) -> None:
    (job_id,) = await desk.hand_in(ada, "first")
    await desk.claim()
    await desk.settle(job_id, "released")
    assert (await desk.row(job_id))["attempts"] == 0
    assert await desk.claim() == ["first"]


async def test_targets_that_are_left_out_wait(desk: Desk, ada: UserId) -> None:
    await desk.hand_in(ada, "memory")
    await desk.hand_in(ada, "profile", target="profile")
    assert names(await desk.outbox.claim(limit=9, lease_s=LEASE_S, without=["memory"])) == ["profile"]
    assert await desk.outbox.claim(limit=9, lease_s=LEASE_S, without=["memory"]) == []


async def test_how_far_jobs_are_is_told(desk: Desk, ada: UserId, ming: UserId) -> None:
    done, failed = await desk.hand_in(ada, "done", "failed")
    (waiting,) = await desk.hand_in(ming, "waiting")
    await desk.claim(limit=1)
    await desk.done(done)
    await desk.claim(limit=1)
    await desk.settle(failed, "failed", error="away", after_s=60)
    found = await desk.outbox.progress([done, failed, waiting, uuid4()])
    assert found == {
        done: JobProgress("done", None),
        failed: JobProgress("queued", "away"),
        waiting: JobProgress("queued", None),
    }
    assert [found[job].has_ended for job in (done, failed, waiting)] == [True, True, False]


async def test_only_the_newest_writes_that_wait_are_kept(desk: Desk, ada: UserId) -> None:
    await desk.hand_in(ada, "being done")
    await desk.claim()
    await desk.hand_in(ada, "erase", kind="erase")
    for name in ("old", "newer", "newest"):
        await desk.hand_in(ada, name)
    assert await desk.outbox.trim(keep=2) == 1
    assert await desk.outbox.trim(keep=2) == 0
    left = await desk.database.read(
        lambda c: c.execute(select(outbox.c.payload).order_by(outbox.c.seq)).scalars().all()
    )
    assert [payload["name"] for payload in left] == ["being done", "erase", "newer", "newest"]


async def test_writes_that_have_waited_too_long_are_dropped(desk: Desk, ada: UserId) -> None:
    old, young = await desk.hand_in(ada, "old", "young")
    (erase,) = await desk.hand_in(ada, "erase", kind="erase")
    for job in (old, erase):
        await _change(desk, job, created_at=utc_now() - timedelta(hours=2))
    assert await desk.outbox.trim(keep=100, older_than_s=3600) == 1
    assert set(await desk.outbox.progress([old, young, erase])) == {young, erase}


@pytest.mark.parametrize("outcome", ["failed", "dead", "released"])
async def test_a_write_that_comes_to_nothing_while_its_user_is_erased_goes_at_once(
    desk: Desk, ada: UserId, outcome: str
) -> None:
    (write,) = await desk.hand_in(ada, "write")
    await desk.claim()
    await desk.hand_in(ada, "erase", kind="erase")
    (after,) = await desk.hand_in(ada, "after")
    await desk.settle(write, outcome, error="away", after_s=300)
    assert set(await desk.outbox.progress([write, after])) == {after}
    assert await desk.claim() == ["erase"]


async def test_a_write_whose_worker_dies_while_its_user_is_erased_is_not_tried_again(
    desk: Desk, ada: UserId
) -> None:
    (lost,) = await desk.hand_in(ada, "lost")
    await desk.claim(lease_s=0)
    await desk.hand_in(ada, "erase", kind="erase")
    (after,) = await desk.hand_in(ada, "after")
    assert await desk.claim() == ["erase"]
    assert set(await desk.outbox.progress([lost, after])) == {after}


@pytest.mark.parametrize("comes_back", ["failed", "by itself"])
async def test_an_erasure_overtakes_writes_of_its_user_and_target_alone(
    desk: Desk, ada: UserId, ming: UserId, comes_back: str
) -> None:
    (mings,) = await desk.hand_in(ming, "ming's")
    (other,) = await desk.hand_in(ada, "other", target="profile")
    (erasing,) = await desk.hand_in(ada, "erase", kind="erase")
    await desk.claim(lease_s=0 if comes_back == "by itself" else LEASE_S)
    await desk.hand_in(ada, "erase once more", kind="erase")
    if comes_back == "failed":
        for job in (mings, other, erasing):
            await desk.settle(job, "failed", after_s=0)
    assert sorted(await desk.claim()) == ["erase", "ming's", "other"]


async def test_two_jobs_of_one_user_taken_in_the_same_moment_are_given_to_the_first(
    postgres_url: str,
) -> None:
    """As where a dead one is tried again, while a later one is taken."""
    async with open_database(postgres_url) as database:
        desk, taken = Desk(database), anyio.Event()
        first, second = await desk.hand_in(await desk.store.user("ada"), "first", "second")
        claimed: list[list[str]] = []

        async def claim() -> None:
            await taken.wait()
            claimed.append(await desk.claim())

        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(claim)
                tasks.start_soon(database.write, _taking(second, taken))
        found = await desk.outbox.progress([first, second])
        assert (claimed, found[first].state, found[second].state) == ([[]], "queued", "leased")


async def test_what_another_process_is_looking_at_is_not_waited_for(postgres_url: str) -> None:
    async with open_database(postgres_url) as database:
        desk, claimed, looking = Desk(database), list[str](), anyio.Event()
        await desk.hand_in(await desk.store.user("ada"), "looked at")
        await desk.hand_in(await desk.store.user("小明"), "free")

        def look(connection: Connection) -> None:
            connection.execute(select(outbox).order_by(outbox.c.seq).limit(1).with_for_update())
            looking.set()
            while not claimed:
                connection.execute(select(func.pg_sleep(0.01)))

        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(database.write, look)
                await looking.wait()
                claimed.extend(await desk.claim())
        assert claimed == ["free"]


@pytest.mark.parametrize("made", ["by age", "by number", "for an erasure"])
async def test_what_is_taken_in_the_same_moment_is_not_deleted(postgres_url: str, made: str) -> None:
    async with open_database(postgres_url) as database:
        desk = Desk(database)
        ada, taken = await desk.store.user("ada"), anyio.Event()
        (job,) = await desk.hand_in(ada, "write")
        if made == "for an erasure":
            await desk.hand_in(ada, "erase", kind="erase")

        async def delete() -> None:
            await taken.wait()
            if made == "by age":
                await desk.outbox.trim(keep=9, older_than_s=0)
            elif made == "by number":
                await desk.outbox.trim(keep=0)
            else:
                await desk.claim()

        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(delete)
                tasks.start_soon(database.write, _taking(job, taken))
        assert (await desk.outbox.progress([job]))[job].state == "leased"


async def test_figures_tell_writes_that_wait_from_all_that_is_open(desk: Desk, ada: UserId) -> None:
    dead, *_ = await desk.hand_in(ada, "dead", "being done", "waiting")
    await desk.claim()
    await desk.settle(dead, "dead", error="no")
    await desk.claim()
    await desk.hand_in(ada, "erase", kind="erase")
    found = await desk.outbox.figures()
    assert (found.waiting, found.open, found.dead) == (1, 3, 1)
    ahead = update(outbox).values(created_at=utc_now() + timedelta(minutes=1))
    await desk.database.write(lambda connection: connection.execute(ahead))
    assert (await desk.outbox.figures()).oldest_s == 0, "another machine's clock"


async def test_a_job_written_twice_is_one_job_even_after_it_is_done(desk: Desk, ada: UserId) -> None:
    job = Job(uuid4(), "memory", ada, {"name": "once"})
    record = TurnRecord(TurnId(uuid4()), ada, None, "default", (), "complete", 0, {}, (job,))
    await desk.store.save_turn(record)
    await desk.store.save_turn(record)
    assert await desk.outbox.depth() == 1
    assert await desk.claim() == ["once"]
    await desk.done(job.id)
    await desk.store.save_turn(record)
    assert await desk.claim() == []


async def test_a_finished_job_is_forgotten_after_a_while_and_keeps_no_words_until_then(
    desk: Desk, ada: UserId
) -> None:
    old, new, waiting = await desk.hand_in(ada, "old", "new", "waiting")
    for job_id in (old, new):
        await desk.claim()
        await desk.settle(job_id, "failed", error="no", counts=False)
        await desk.claim()
        await desk.done(job_id)
        row = await desk.row(job_id)
        assert (row["payload"], row["last_error"]) == ({}, None)
    long_ago = utc_now() - module.KEPT_DONE - timedelta(minutes=1)
    await _change(desk, old, finished_at=long_ago)
    assert await desk.claim() == ["waiting"]
    left = await desk.database.read(lambda c: c.execute(select(outbox.c.id)).scalars().all())
    assert set(left) == {new, waiting}


async def test_two_claimers_never_get_the_same_job(database_url: str) -> None:
    users, jobs_each, claimed = 10, 6, list[str]()
    async with open_database(database_url) as one, open_database(database_url) as other:
        desk = Desk(one)
        for number in range(users):
            user = await desk.store.user(f"user {number}")
            await desk.hand_in(user, *(f"{number}/{place}" for place in range(jobs_each)))

        async def work(outbox: SqlOutbox) -> None:
            while await outbox.depth():
                leased = await outbox.claim(limit=3, lease_s=LEASE_S)
                claimed.extend(names(leased))
                assert len({item.job.user_id for item in leased}) == len(leased)
                for item in leased:
                    await outbox.settle([Ending(item, "done")])

        with anyio.fail_after(180):
            async with anyio.create_task_group() as tasks:
                for database in (one, other):
                    for _ in range(3):
                        tasks.start_soon(work, SqlOutbox(database))
    assert len(claimed) == len(set(claimed)) == users * jobs_each
    for number in range(users):
        mine = [name for name in claimed if name.startswith(f"{number}/")]
        assert mine == sorted(mine)


async def test_the_database_itself_refuses_a_second_lease_for_a_user_and_target(
    desk: Desk, ada: UserId
) -> None:
    first, second = await desk.hand_in(ada, "first", "second")
    await desk.claim()
    with pytest.raises(Exception, match=r"(?i)unique"):
        await _change(desk, second, state="leased", leased_until=utc_now())
    assert (await desk.row(first))["state"] == "leased"


async def test_claiming_goes_by_the_partial_indexes(desk: Desk, ada: UserId) -> None:
    await desk.hand_in(ada, "one")
    values = {"now": utc_now(), "limit": 10, "without": []}
    used = await desk.database.write(lambda connection: plan_of(connection, module._CHOOSE, values))
    assert "ix_outbox_queued" in used or "ix_outbox_earlier" in used
    assert "ix_outbox_leased" in used
    assert "Seq Scan" not in used
    assert "SCAN waiting" in used or "Aggregate" in used, "one pass, not a look for each job that waits"


async def _make_due(desk: Desk, job_id: UUID) -> None:
    await _change(desk, job_id, due_at=utc_now() - timedelta(seconds=1))


async def _change(desk: Desk, job_id: UUID, **values: object) -> None:
    statement = update(outbox).where(outbox.c.id == job_id).values(**values)
    await desk.database.write(lambda connection: connection.execute(statement))
