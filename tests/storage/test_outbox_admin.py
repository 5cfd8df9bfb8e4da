"""What operators do with jobs, on every kind of database."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert

from cozy.adapters.sql_store import SqlStore
from cozy.ports.outbox import LeasedJob, StoredJob
from cozy.storage.database import Database
from cozy.storage.outbox import SqlOutbox
from cozy.storage.outbox_admin import SqlOutboxAdmin
from cozy.storage.schema import utc_now
from cozy.storage.tables import outbox
from cozy.turn import UserId


class Desk:
    def __init__(self, database: Database, user: UserId) -> None:
        self.database, self.user = database, user
        self.admin, self.outbox = SqlOutboxAdmin(database), SqlOutbox(database)

    async def put(self, state: str, *, id_: UUID | None = None, **more: object) -> UUID:
        row = {"id": id_ or uuid4(), "user_id": self.user, "target": f"memory/{state}", "payload": {"n": 1}}
        row |= {"state": state, "attempts": 7, "due_at": utc_now(), "created_at": utc_now()}
        row |= {"leased_until": utc_now() if state == "leased" else None, **more}
        await self.database.write(lambda connection: connection.execute(insert(outbox), row))
        return row["id"]

    async def claim(self) -> list[UUID]:
        leases: list[LeasedJob] = list(await self.outbox.claim(limit=9, lease_s=60))
        return [lease.job.id for lease in leases]


@pytest.fixture
async def desk(database: Database) -> Desk:
    return Desk(database, await SqlStore(database).user("小明"))


def ids(jobs: object) -> list[UUID]:
    assert isinstance(jobs, list)
    found: list[StoredJob] = jobs
    return [job.id for job in found]


async def test_a_job_is_found_by_the_beginning_of_its_id(desk: Desk) -> None:
    one, twin = UUID("abcdef01-2345-6789-0000-000000000001"), UUID("abcdef01-2345-6789-0000-000000000002")
    await desk.put("dead", id_=one)
    await desk.put("done", id_=twin)
    assert ids(await desk.admin.find("ABCDEF01-23")) == [one, twin]
    assert ids(await desk.admin.find(str(one))) == [one]
    for nothing in ("bcdef", "%", "_bcdef", "abcdef02"):
        assert ids(await desk.admin.find(nothing)) == []
    [found] = await desk.admin.find(str(one))
    assert (found.username, found.state, found.kind, found.payload) == ("小明", "dead", "write", {"n": 1})


async def test_jobs_are_listed_by_what_they_are(desk: Desk) -> None:
    made = [await desk.put(state) for state in ("queued", "leased", "dead", "done")]
    assert ids(await desk.admin.jobs()) == made[:3]
    assert ids(await desk.admin.jobs(states=("dead", "done"))) == made[2:]
    assert ids(await desk.admin.jobs(target="memory")) == made[:3]
    assert ids(await desk.admin.jobs(target="memory/dead")) == made[2:3]
    assert ids(await desk.admin.jobs(target="memor_")) == []
    assert ids(await desk.admin.jobs(user_id=UserId(uuid4()))) == []
    assert ids(await desk.admin.jobs(limit=1)) == made[:1]


async def test_dead_jobs_are_new_again_and_others_are_left_alone(desk: Desk) -> None:
    for state in ("leased", "done"):
        await desk.put(state)
    dead = await desk.put("dead", finished_at=utc_now(), last_error="no")
    assert await desk.admin.again() == 1
    assert await desk.admin.again() == 0
    assert dead in await desk.claim()
    [job] = await desk.admin.find(str(dead))
    assert (job.attempts, job.finished_at) == (1, None)


async def test_only_what_is_not_being_done_is_done_again_or_dropped(desk: Desk) -> None:
    made = [await desk.put(state) for state in ("queued", "leased", "dead", "done")]
    erase = await desk.put("queued", kind="erase", target="memory/other")
    assert await desk.admin.again(made) == 2
    assert await desk.admin.drop([*made, erase]) == 2
    assert ids(await desk.admin.jobs(states=("queued", "leased", "dead", "done"))) == [
        made[1],
        made[3],
        erase,
    ]
